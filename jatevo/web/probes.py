"""/healthz and /metrics: for load balancers, supervisors and Prometheus."""

from hmac import compare_digest

from django.conf import settings
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django_prometheus.exports import ExportToDjangoView

from jatevo.web.health import Readiness, readiness


@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text, for who sends JATEVO_METRICS_TOKEN as a bearer token, and for signed-in admins."""
    token = settings.METRICS_TOKEN
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    scraper = bool(token) and scheme.lower() == "bearer" and compare_digest(given.encode(), token.encode())
    if not scraper and not getattr(request.user, "is_staff", False):
        raise Http404
    return ExportToDjangoView(request)


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while this process serves and PostgreSQL answers, else 503."""
    state = readiness()
    if state is not Readiness.READY:
        return JsonResponse({"status": state.value}, status=503)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})
