"""Every URL of the console."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularJSONAPIView

from jatevo.web import probes
from receipts.views import verify_any

handler400 = "jatevo.web.pages.bad_request"
handler403 = "jatevo.web.pages.permission_denied"
handler404 = "jatevo.web.pages.page_not_found"
handler500 = "jatevo.web.pages.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("jatevo.overview.urls")),
    path("", include("jatevo.accounts.urls")),
    path("", include("jatevo.docs.urls")),
    path("nodes/", include("nodes.urls")),
    path("receipts/", include("receipts.urls")),
    path("verify/", verify_any, name="verify"),
    path("earnings/run/", include("earnings.run.urls")),
    path("earnings/review/", include("earnings.review.urls")),
    path("earnings/", include("earnings.urls")),
    path("run-a-node/", include("onboarding.urls")),
    path("install/", include("onboarding.install.urls")),
    path("v1/", include("jatevo.overview.api_urls")),
    path("v1/", include("jatevo.accounts.api_urls")),
    path("v1/", include("nodes.api_urls")),
    path("v1/", include("receipts.api_urls")),
    path("v1/", include("earnings.api_urls")),
    path("v1/openapi.json", SpectacularJSONAPIView.as_view(permission_classes=[]), name="openapi"),
    path("admin/", admin.site.urls),
    path(probes.LIVENESS_PATH.lstrip("/"), probes.healthz, name="healthz"),  # LivenessMiddleware is faster
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", probes.metrics, name="metrics"),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}favicon.svg"), name="favicon"),
]

if settings.DEBUG:
    urlpatterns.append(path("ui/", include("jatevo.web.ui")))
