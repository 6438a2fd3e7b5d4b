"""The Overview page."""

from dataclasses import dataclass

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.accounts.permissions import Permission, allowed
from jatevo.overview.access import may_see_overview, sees_small_regions
from jatevo.overview.kpis import OTHER_REGIONS, Region, snapshot
from jatevo.overview.models import Incident, Severity
from jatevo.web.fragments import page_or_fragment
from jatevo.web.templatetags.charts import shares

POLL_SECONDS = 10
SHOWN_INCIDENTS = 5

_WORST_FIRST = (Severity.MAJOR, Severity.WARN, Severity.INFO)


@dataclass(frozen=True)
class RegionLine:
    """A bar of the region chart; `share` is its length in percent of the slowest one's."""

    region: Region
    share: float | None
    url: str


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Four figures, the regions' latency, and what is wrong just now. Polled as the fragment `live`."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    now = timezone.now()
    network = snapshot(at=now)
    may_view_nodes = allowed(request.user, Permission.VIEW_NODES)
    incidents = sorted(Incident.objects.open(), key=_badness)
    regions = network.regions(fold_small=not sees_small_regions(request.user))
    context = {
        "network": network,
        "nodes_hint": f"Of {network.census.nodes:,} registered",
        "regions": _lines(regions, linked=may_view_nodes),
        "incidents": incidents[:SHOWN_INCIDENTS],
        "incident_count": len(incidents),
        "nodes_url": f"{reverse('nodes:list')}?status=active" if may_view_nodes else "",
        "receipts_url": reverse("receipts:list") if allowed(request.user, Permission.VIEW_RECEIPTS) else "",
        "may_enrol": allowed(request.user, Permission.ENROL_NODES),
        "poll_seconds": POLL_SECONDS,
    }
    version = (network, regions, [_shown(incident) for incident in incidents], request.user.pk)
    return page_or_fragment(
        request, "overview/home.html", context, fragments={"overview-live": "live"}, version=version
    )


def _badness(incident: Incident) -> int:
    return _WORST_FIRST.index(Severity(incident.severity))


def _shown(incident: Incident) -> tuple[object, ...]:
    """What a change of must reach the page."""
    return incident.severity, incident.title, incident.description, incident.region, incident.created_at


def _lines(regions: list[Region], *, linked: bool) -> list[RegionLine]:
    nodes_list = reverse("nodes:list")
    lines = []
    for region, share in zip(regions, shares([region.p95_ms for region in regions]), strict=True):
        leads_on = linked and region.name != OTHER_REGIONS
        lines.append(RegionLine(region, share, f"{nodes_list}?region={region.name}" if leads_on else ""))
    return lines
