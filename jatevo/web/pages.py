"""Error pages for people. They use no store, so that they also work while one is down."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django_htmx.middleware import HtmxDetails

from jatevo.web.errors import RETRY_AFTER_SECONDS, ApiError, to_response
from jatevo.web.request_id import current_request_id


def unavailable_page(request: HttpRequest) -> HttpResponse:
    """503: PostgreSQL does not answer. For a part of a page, a sentence that app.js shows next to the old
    content.
    """
    htmx = HtmxDetails(request)
    is_part = bool(htmx) and not htmx.history_restore_request
    response = _page(request, "errors/503_part.html" if is_part else "errors/503.html", 503)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    patch_vary_headers(response, ["HX-Request"])
    add_never_cache_headers(response)
    return response


def refused_page(request: HttpRequest, refused: ApiError) -> HttpResponse:
    """An ApiError as a page, or as a fragment for htmx, which shows it in place."""
    context = {
        "request_id": current_request_id(),
        "refused": refused,
        "retry_after": refused.headers.get("Retry-After"),
    }
    template = "errors/fragment.html" if request.headers.get("HX-Request") else "errors/refused.html"
    page = render(request, template, context, status=refused.status)
    for name, value in refused.headers.items():
        page[name] = value
    return page


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
