"""A node (as a page or in the drawer), and what can be done to one."""

from collections.abc import Callable
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, require
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from nodes.actions import NodeError, clear, quarantine, rotate_token
from nodes.drawer import Tab, explanation_of, rights_of, tab_context
from nodes.forms import ReasonForm
from nodes.lifecycle import Status
from nodes.models import Node

POLL_SECONDS = 10
# what a line of the list shows, and no JSON that it does not
_LIST_FIELDS = (
    "id", "region", "runtime", "status", "status_since", "status_reason", "probing_since", "reputation",
    "last_heartbeat_at", "green_energy",
)  # fmt: skip
_DETAIL_FRAGMENTS = {"drawer-body": "drawer", "node-live": "live", "node-status": "status", "node-tab": "tab"}


@require_safe
@require(Permission.VIEW_NODES)
def detail(request: HttpRequest, node_id: str) -> HttpResponse:
    """One node: a page, the drawer's content, or a part that follows the node. `tab` chooses what is shown."""
    node = _visible(request, node_id)
    rights = rights_of(_user(request), node)
    tab = Tab(request.GET["tab"]) if request.GET.get("tab") in set(Tab) else Tab.METRICS
    part = wanted_fragment(request, _DETAIL_FRAGMENTS)
    in_drawer = part == "drawer" or "drawer" in request.GET
    explanation = explanation_of(node)
    context = {
        "node": node,
        "rights": rights,
        "explanation": explanation,
        "tab": tab,
        "tabs": [(each, _tab_url(node, each, in_drawer)) for each in Tab],
        "live_url": _tab_url(node, tab, in_drawer),
        "in_drawer": in_drawer,
        "poll_seconds": POLL_SECONDS,
    }
    version: object = None
    if part == "status":
        version = (explanation, rights, [getattr(node, name) for name in _LIST_FIELDS], node.fraud)
    else:
        content = tab_context(tab, node, rights, at=timezone.now())
        version = content.get("version")
        context |= content
    return page_or_fragment(
        request, "nodes/detail.html", context, fragments=_DETAIL_FRAGMENTS, version=version
    )


@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.QUARANTINE_NODES)
def quarantine_node(request: HttpRequest, node_id: str) -> HttpResponse:
    """Asks for the reason, then quarantines."""
    return _moderate(request, node_id, quarantine, "nodes/quarantine.html", "is in quarantine.")


@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.QUARANTINE_NODES)
def clear_node(request: HttpRequest, node_id: str) -> HttpResponse:
    """Asks for the reason, then ends the quarantine."""
    return _moderate(
        request, node_id, clear, "nodes/clear.html", "is cleared and must pass its probes again."
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.MANAGE_NODES)
def rotate_node_token(request: HttpRequest, node_id: str) -> HttpResponse:
    """Asks whether to, then answers with the new token, which is shown this once."""
    node = _visible(request, node_id)
    if not rights_of(_user(request), node).rotate:
        raise PermissionDenied
    token, problem, status = "", "", 200
    if request.method == "POST":
        try:
            token = rotate_token(node=node, by=_user(request), at=timezone.now())
        except NodeError as error:
            problem, status = str(error), 409
    context = {"node": node, "token": token, "problem": problem}
    return render(request, "nodes/rotate_token.html", context, status=status)


def _moderate(
    request: HttpRequest, node_id: str, action: Callable[..., None], template: str, done: str
) -> HttpResponse:
    node = _visible(request, node_id)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            action(node=node, by=_user(request), reason=form.cleaned_data["reason"], at=timezone.now())
        except NodeError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{node.pk} {done}")
            return redirect("nodes:detail", node_id=node.pk)
    context = {"node": node, "form": form, "in_quarantine": node.status == Status.QUARANTINE}
    return render(request, template, context, status=422 if form.errors else 200)


def _visible(request: HttpRequest, node_id: str) -> Node:
    """The node, or 404 for one that does not exist or that the person may not see."""
    nodes = Node.objects.visible_to(request.user).select_related("org", "attestation")
    return get_object_or_404(nodes, pk=node_id)


def _tab_url(node: Node, tab: Tab, in_drawer: bool) -> str:
    query = {"tab": tab.value, **({"drawer": "1"} if in_drawer else {})}
    return f"{reverse('nodes:detail', args=[node.pk])}?{urlencode(query)}"


def _user(request: HttpRequest) -> User:
    """The signed-in user; `require` has let nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("this view must be guarded by require()")
    return request.user
