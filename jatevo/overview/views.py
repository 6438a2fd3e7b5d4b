"""The Overview page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.overview.access import may_see_overview, sees_small_regions
from jatevo.overview.charts import Heat, bar_width, heatmap, region_bar, trend
from jatevo.overview.feed import recent_changes
from jatevo.overview.history import DAY_CHANGE_HOURS, HourPoint, day_changes, network_hours, region_hours
from jatevo.overview.kpis import FRESH_FOR, OTHER_REGIONS, Region, Snapshot, snapshot
from jatevo.overview.models import Incident, IncidentKind, Severity
from jatevo.web.fragments import page_or_fragment
from nodes.access.names import NodeNames

POLL_SECONDS = 8  # figures on a page are at most this, FRESH_FOR and a few seconds of shipping old
SHOWN_INCIDENTS = 3
DAY_HOURS = 24
# The worker summarises every few seconds, so this is many of its runs.
HOURS_LATE = timedelta(minutes=3)

_WORST_FIRST = (Severity.MAJOR, Severity.WARN, Severity.INFO)


@dataclass(frozen=True)
class Late:
    """The as-of time of the hours, and why they are late."""

    as_of: datetime
    reason: str


@dataclass(frozen=True)
class Sparks:
    """The last 24 hours of the four figures."""

    active_nodes: list[int | None]
    p95_ms: list[float | None]
    models_cached: list[int | None]
    requests: list[int | None]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The network's figures, regions, trends, incidents and changes. Polled as the fragment `live`."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    heat = Heat(request.GET["heat"]) if request.GET.get("heat") in set(Heat) else Heat.P95
    live = _live(request, heat, at=timezone.now())
    context = {
        "live": live,
        "may_enrol": allowed(request.user, Permission.ENROL_NODES),
        "poll_seconds": POLL_SECONDS,
    }
    return page_or_fragment(request, "overview/home.html", context, fragments={"overview-live": "live"})


def _live(request: HttpRequest, heat: Heat, *, at: datetime) -> SafeString:
    """The live part of the page, rendered once for each snapshot, audience and time zone."""
    network = snapshot(at=at)
    names = NodeNames.of(request.user)
    moments = f"{network.as_of.timestamp()}:{network.census.as_of.timestamp()}:{network.stale}"
    zone = timezone.get_current_timezone_name()
    key = f"overview:live:{moments}:{heat.value}:{zone}:{_audience(request, names)}"
    kept: str | None = cache.get(key)
    if kept is None:
        kept = render_to_string("overview/live.html", _drawn(request, network, names, heat, at=at), request)
        cache.set(key, kept, timeout=2 * FRESH_FOR.total_seconds())
    return SafeString(kept)


def _audience(request: HttpRequest, names: NodeNames) -> str:
    """The key of people who see the same page: admins, an organisation's operators, or others by granted
    nodes.
    """
    user = request.user
    if not isinstance(user, User):
        return "public"
    if names.everything:
        return "admins" if user.is_admin else f"org-{user.org_id}"
    return f"viewer-{user.pk}" if names.granted else "viewers"


def _drawn(
    request: HttpRequest, network: Snapshot, names: NodeNames, heat: Heat, *, at: datetime
) -> dict[str, Any]:
    """The context for the template of the live part. Four queries."""
    fold_small = not sees_small_regions(request.user)
    past = network_hours(at=at, hours=DAY_CHANGE_HOURS)
    today = past[-DAY_HOURS:]
    regions = network.regions(fold_small=fold_small)
    by_hour = region_hours(at=at, hours=DAY_HOURS, fold_small=fold_small)
    incidents = sorted(Incident.objects.open(), key=_badness)
    under_way = [each for each in incidents if each.starts_at <= at]
    announced = [each for each in incidents if each.starts_at > at]
    return {
        "network": network,
        "nodes_hint": f"Of {network.census.nodes:,} registered",
        "compared": day_changes(network, past, at=at),
        "sparks": _sparks(today),
        "bar": region_bar(
            regions,
            [_region_url(region) for region in regions],
            [network.why_unknown(region) for region in regions],
        ),
        "heatmap": heatmap(by_hour, heat),
        "models": network.models(fold_small=fold_small),
        "late": _late(network, today, at=at),
        "heats": [
            {
                "label": each.label,
                "url": f"{reverse('overview:home')}?heat={each.value}#heat",
                "active": each is heat,
            }
            for each in Heat
        ],
        "trends": _trends(today),
        "bar_width": bar_width(DAY_HOURS),
        "under_way": under_way,
        "shown_incidents": [*under_way, *announced][:SHOWN_INCIDENTS],
        "changes": recent_changes(
            request.user, names, at=at, region_told=network.census.told if fold_small else str
        ),
        "nodes_url": f"{reverse('nodes:list')}?status=active",
        "receipts_url": reverse("receipts:list") if allowed(request.user, Permission.VIEW_RECEIPTS) else "",
        "may_enrol": allowed(request.user, Permission.ENROL_NODES),
    }


def _late(network: Snapshot, hours: Sequence[HourPoint], *, at: datetime) -> Late | None:
    """Whether trends and heatmap are late, like the figures or because no hour was summarised recently."""
    if network.stale and network.traffic:
        return Late(network.traffic.as_of, network.trouble)
    computed = max((point.computed_at for point in hours if point.computed_at), default=None)
    if computed is not None and at - computed >= HOURS_LATE:
        return Late(computed, "The hours have not been summed up for a while.")
    return None


def _badness(incident: Incident) -> tuple[bool, int]:
    maintenance = incident.kind == IncidentKind.MAINTENANCE
    return maintenance, _WORST_FIRST.index(Severity(incident.severity))


def _region_url(region: Region) -> str:
    return "" if region.name == OTHER_REGIONS else f"{reverse('nodes:list')}?region={region.name}"


def _sparks(hours: list[HourPoint]) -> Sparks:
    return Sparks(
        [hour.active_nodes for hour in hours],
        [hour.p95_ms for hour in hours],
        [hour.models_cached for hour in hours],
        # without the current hour, which is incomplete and would make every trend end with a fall
        [hour.requests for hour in hours if not hour.running],
    )


def _trends(hours: list[HourPoint]) -> list[dict[str, Any]]:
    return [
        {
            "title": "Requests",
            "help": "requests_trend",
            "chart": trend(hours, "requests", unit="requests"),
            "tones": ["text-primary"],
        },
        {
            "title": "Tokens",
            "help": "tokens_trend",
            "chart": trend(hours, "tokens_input", "tokens_output", unit="tokens"),
            "tones": ["text-primary", "text-ok"],
            "legend": ["in", "out"],
        },
        {
            "title": "Errors",
            "help": "errors_trend",
            "chart": trend(hours, "errors", unit="errors"),
            "tones": ["text-bad"],
        },
    ]
