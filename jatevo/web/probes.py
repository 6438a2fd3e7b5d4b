"""/healthz, /readyz and /metrics: for supervisors, load balancers and Prometheus."""

from hmac import compare_digest

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from prometheus_client import CONTENT_TYPE_LATEST

from jatevo.telemetry import exposition
from jatevo.web.health import health, readiness

LIVENESS_PATH = "/healthz"


@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Metrics of all processes of this host for Prometheus, with JATEVO_METRICS_TOKEN as a bearer token or for signed-in admins."""
    token = settings.METRICS_TOKEN
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    scraper = bool(token) and scheme.lower() == "bearer" and compare_digest(given.encode(), token.encode())
    if not scraper and not getattr(request.user, "is_staff", False):
        raise Http404
    return HttpResponse(exposition.page(), content_type=CONTENT_TYPE_LATEST)


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200: this process is alive.

    It asks no store, so that a store's outage does not get the process restarted.
    """
    return JsonResponse({"status": "ok", "readiness": readiness().value})


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 while this process can serve; 503 while it starts or stops, or PostgreSQL does not answer.

    Without Redis or ClickHouse it still serves, as `degraded`.
    """
    found = health()
    stores = {name: "ok" if answers else "unavailable" for name, answers in found.stores.items()}
    return JsonResponse(
        {"status": found.readiness.value, "stores": stores}, status=200 if found.serves else 503
    )
