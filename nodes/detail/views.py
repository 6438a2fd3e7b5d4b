"""A node, as a page or in the drawer. The views that change a node are in nodes/detail/manage_views.py."""

from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.accounts.permissions import Permission, require
from jatevo.flags.registry import Flag
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from nodes.access.names import NodeNames
from nodes.access.rights import Rights, rights_of
from nodes.detail.latency_charts import ChartWindow
from nodes.detail.tabs import Tab, banners_of, endpoint_advice_of, explanation_of, tab_context, tabs_for
from nodes.models import Node
from nodes.slots import actions_for, notices_of

POLL_SECONDS = 10
_FRAGMENTS = {
    "drawer-body": "drawer",
    "node-live": "live",
    "node-status": "status",
    "node-tab": "tab",
    "node-charts": "charts",
}


@require_safe
@require(Permission.VIEW_NODES, public_while=Flag.ALLOW_ANONYMOUS_OVERVIEW)
def detail(request: HttpRequest, name: str) -> HttpResponse:
    """One node: a page, the drawer's content, or a part that refreshes itself.

    `tab` chooses what is shown, `window` how far back the charts go. A visitor is asked to sign in if they
    cannot see the node, whether a node of that name exists or not.
    """
    try:
        node, rights = seen(request, name)
    except Http404:
        if request.user.is_authenticated:
            raise
        return redirect_to_login(request.get_full_path())
    now = timezone.now()
    tabs = tabs_for(rights)
    tab = next((each for each in tabs if each == request.GET.get("tab")), Tab.METRICS)
    window = next((each for each in ChartWindow if each == request.GET.get("window")), ChartWindow.DAY)
    part = wanted_fragment(request, _FRAGMENTS)
    in_drawer = part == "drawer" or "drawer" in request.GET
    explanation = explanation_of(node, at=now)
    # of the parts that refresh, only the status shows exemptions
    banners = banners_of(node, rights, at=now) if part not in ("tab", "charts") else []
    advice = endpoint_advice_of(node) if rights.owns and part not in ("tab", "charts") else None
    address = Address(rights, tab, window)
    context = {
        "node": node,
        "rights": rights,
        "other_actions": [(act, act.page(node.pk)) for act in actions_for(request.user)],
        "explanation": explanation,
        "banners": banners,
        "endpoint_advice": advice,
        "notices": notices_of(node) if rights.owns and part not in ("tab", "charts") else [],
        "tab": tab,
        "tabs": [(each, address.of(tab=each), address.of(tab=each, drawer=in_drawer)) for each in tabs],
        "windows": [
            (each, address.of(window=each), address.of(window=each, drawer=in_drawer)) for each in ChartWindow
        ],
        "page_url": address.of(),
        "live_url": address.of(drawer=in_drawer),
        "in_drawer": in_drawer,
        "poll_seconds": POLL_SECONDS,
        "tab_poll_seconds": POLL_SECONDS if tab in (Tab.METRICS, Tab.RECEIPTS) else None,
    }
    if part != "status":
        context |= tab_context(tab, node, rights, reader=request.user, window=window, part=part, at=now)
    return page_or_fragment(request, "nodes/detail/page.html", context, fragments=_FRAGMENTS)


def seen(request: HttpRequest, name: str) -> tuple[Node, Rights]:
    """The node of that name and the reader's rights. 404 for a node that the reader may not see.

    For a reader who sees the node under its pseudonym, its id is a 404 like any unknown name.
    """
    names = NodeNames.of(request.user)
    nodes = Node.objects.visible_to(request.user).select_related("org", "attestation", "standing")
    node = names.find(nodes, name)
    if node is None:
        raise Http404
    return node, rights_of(request.user, node, names)


class Address:
    """The URL of a node's tab and, for the charts, of how far back they go."""

    def __init__(self, rights: Rights, tab: Tab, window: ChartWindow) -> None:
        self._path = reverse("nodes:detail", args=[rights.name])
        self._tab = tab
        self._window = window

    def of(self, *, tab: Tab | None = None, window: ChartWindow | None = None, drawer: bool = False) -> str:
        """The URL with the given parts changed. `drawer` asks for fragments that stay in the drawer."""
        shown, back = tab or self._tab, window or self._window
        query = {"tab": shown.value}
        if shown is Tab.METRICS and back is not ChartWindow.DAY:
            query["window"] = back.value
        return f"{self._path}?{urlencode(query | ({'drawer': '1'} if drawer else {}))}"
