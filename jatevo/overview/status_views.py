"""The status page, the archive of incidents, and a page for each."""

from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.overview.access import may_see_overview, sees_small_regions
from jatevo.overview.models import Incident
from jatevo.overview.status import DAYS, FAIR, GOOD, by_day, history, overall
from jatevo.web.fragments import page_or_fragment

POLL_SECONDS = 30
RECENT = 5
PER_PAGE = 20


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """How the network is now, what is announced, and 90 days of each region."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    now = timezone.now()
    incidents = Incident.objects.prefetch_related("updates")
    unresolved = list(incidents.open().order_by("starts_at"))
    under_way = [each for each in unresolved if each.starts_at <= now]
    recent = list(incidents.resolved().order_by("-resolved_at")[:RECENT])
    strips = history(at=now, fold_small=not sees_small_regions(request.user))
    context = {
        "overall": overall(under_way),
        "under_way": under_way,
        "announced": [each for each in unresolved if each.starts_at > now],
        "recent": recent,
        "strips": strips,
        "table": by_day(strips),
        "days": DAYS,
        "good_percent": round(GOOD * 100),
        "fair_percent": round(FAIR * 100),
        "poll_seconds": POLL_SECONDS,
    }
    version = (
        strips,
        [(each.pk, str(each), each.severity, list(each.updates.all())) for each in unresolved],
        [each.pk for each in recent],
        [each.pk for each in under_way],
    )
    return page_or_fragment(
        request, "overview/status.html", context, fragments={"status-live": "live"}, version=version
    )


@require_safe
def archive(request: HttpRequest) -> HttpResponse:
    """All incidents, the latest first."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    pages = Paginator(Incident.objects.prefetch_related("updates"), PER_PAGE)
    return render(request, "overview/status_archive.html", {"page": pages.get_page(request.GET.get("page"))})


@require_safe
def incident(request: HttpRequest, incident_id: int) -> HttpResponse:
    """One incident with all that was said."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    found = get_object_or_404(Incident.objects.prefetch_related("updates"), pk=incident_id)
    return render(request, "overview/status_incident.html", {"incident": found})
