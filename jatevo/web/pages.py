"""Error pages for people. They touch no store, so that they can say that one is down."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from jatevo.web.errors import ApiError, to_response
from jatevo.web.request_id import current_request_id


def unavailable_page(request: HttpRequest) -> HttpResponse:
    """503: PostgreSQL cannot be reached."""
    return _page(request, "errors/503.html", 503)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW: the error shape below /v1, a page elsewhere."""
    if request.path_info.startswith("/v1/"):
        return to_response(ApiError(403, "csrf_failed", "The CSRF token is missing or wrong."))
    return _page(request, "errors/csrf.html", 403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, "400.html", 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, "403.html", 403)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, "404.html", 404)


def server_error(request: HttpRequest) -> HttpResponse:
    return _page(request, "500.html", 500)


def _page(request: HttpRequest, template: str, status: int) -> HttpResponse:
    return render(request, template, {"request_id": current_request_id()}, status=status)
