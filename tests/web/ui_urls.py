"""The console's URLs with /ui/, which exists only in DEBUG."""

from django.urls import include, path

from jatevo.urls import handler400, handler403, handler404, handler500, urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [*urlpatterns, path("ui/", include("jatevo.web.ui"))]
