"""The status page, the archive of incidents, and a page for each."""

from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.overview.access import may_see_overview, sees_small_regions
from jatevo.overview.incidents import exemption_sentence, overall
from jatevo.overview.models import Incident
from jatevo.overview.status import DAYS, by_day, history
from jatevo.overview.status_chart import HEIGHT, DayLevel, drawings
from jatevo.web.fragments import page_or_fragment

POLL_SECONDS = 30
RECENT = 5
PER_PAGE = 20


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """The network's present state, announced maintenance, and 90 days of each region."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    now = timezone.now()
    incidents = Incident.objects.prefetch_related("updates")
    unresolved = list(incidents.open(at=now).order_by("starts_at"))
    under_way = [each for each in unresolved if each.starts_at <= now]
    announced = [each for each in unresolved if each.starts_at > now]
    recent = list(Incident.objects.resolved(at=now).latest_end_first()[:RECENT])
    strips = history(at=now, fold_small=not sees_small_regions(request.user))
    context = {
        "overall": overall(under_way),
        "under_way": under_way,
        "announced": announced,
        "recent": recent,
        "drawings": drawings(strips),
        "height": HEIGHT,
        "levels": list(DayLevel),
        "days": DAYS,
        "poll_seconds": POLL_SECONDS,
        "now": now,
    }
    return page_or_fragment(request, "overview/status.html", context, fragments={"status-live": "live"})


@require_safe
def availability(request: HttpRequest) -> HttpResponse:
    """The 90 days as a table, with the incidents of each."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    strips = history(at=timezone.now(), fold_small=not sees_small_regions(request.user))
    return render(
        request,
        "overview/status_availability.html",
        {"strips": strips, "rows": by_day(strips), "days": DAYS},
    )


@require_safe
def archive(request: HttpRequest) -> HttpResponse:
    """All incidents, the latest first."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    pages = Paginator(Incident.objects.prefetch_related("updates"), PER_PAGE)
    context = {"page": pages.get_page(request.GET.get("page")), "now": timezone.now()}
    return render(request, "overview/status_archive.html", context)


@require_safe
def incident(request: HttpRequest, incident_id: int) -> HttpResponse:
    """One incident with all of its updates."""
    if not may_see_overview(request.user):
        return redirect_to_login(request.get_full_path())
    found = get_object_or_404(Incident.objects.prefetch_related("updates"), pk=incident_id)
    exemption = exemption_sentence(found, fold_small=not sees_small_regions(request.user))
    context = {"incident": found, "exemption": exemption, "now": timezone.now()}
    return render(request, "overview/status_incident.html", context)
