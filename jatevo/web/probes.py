"""/healthz and /metrics: for load balancers, supervisors and Prometheus."""

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from jatevo.web.health import Readiness, readiness


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while this process serves and PostgreSQL answers, else 503."""
    state = readiness()
    if state is not Readiness.READY:
        return JsonResponse({"status": state.value}, status=503)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})
