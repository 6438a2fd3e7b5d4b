"""The time zone of a person: their own choice, a visitor's cookie, or else UTC.

Pages use it as Django's current time zone. A streamed export, which is written after the view has returned,
calls `zone_of` beforehand. /v1 and Django admin always use UTC.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from jatevo.accounts import cookies
from jatevo.web.front_door import is_api
from jatevo.web.time_zones import UTC_NAME, zone_named

COOKIE: Final = "time_zone"
_KEPT_SECONDS: Final = 365 * 86_400
_ALWAYS_UTC: Final = ("/admin/", "/metrics", "/healthz", "/readyz", "/static/")


class TimeZoneMiddleware:
    """Activates the zone for pages. Must come after CookieLoginMiddleware, because it needs request.user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with _zone_activated(request):
            return self.get_response(request)


def zone_of(request: HttpRequest) -> ZoneInfo:
    """The zone of the person or visitor. A visitor's costs no query. While PostgreSQL is down, it is UTC."""
    return zone_named(_chosen(request)) or ZoneInfo(UTC_NAME)


def remember_zone(response: HttpResponseBase, name: str) -> None:
    """Stores a visitor's choice in a cookie."""
    response.set_cookie(
        COOKIE, name, max_age=_KEPT_SECONDS, secure=settings.SECURE, httponly=True, samesite="Lax"
    )


def _zone_activated(request: HttpRequest) -> AbstractContextManager[None]:
    if is_api(request) or request.path_info.startswith(_ALWAYS_UTC):
        return nullcontext()
    return timezone.override(zone_of(request))


def _chosen(request: HttpRequest) -> str:
    if cookies.ACCESS in request.COOKIES or cookies.REFRESH in request.COOKIES:
        try:
            user = request.user
            if user.is_authenticated:
                return str(user.time_zone)
        except (OperationalError, InterfaceError):
            return UTC_NAME
    return request.COOKIES.get(COOKIE, "")
