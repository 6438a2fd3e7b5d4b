"""Refuses requests before any view: unknown hosts, URLs that are too long, bodies with invalid framing."""

from collections.abc import Callable

import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from jatevo.web.errors import ApiError, to_response
from jatevo.web.framing import PROBLEM, Problem
from jatevo.web.pages import refused_page

MAX_ADDRESS_BYTES = 8 * 1024  # path and query together, the limit of most proxies
_LONGEST_HOST_LOGGED = 100

log = structlog.get_logger(__name__)


def is_api(request: HttpRequest) -> bool:
    """Whether the answer must be JSON."""
    return request.path_info == "/v1" or request.path_info.startswith("/v1/")


def refusal(request: HttpRequest, error: ApiError) -> HttpResponse:
    """The error as JSON below /v1, and as a page or a fragment elsewhere."""
    return to_response(error) if is_api(request) else refused_page(request, error)


class FrontDoorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            _refuse_foreign_host(request)
            _refuse_long_address(request)
            _refuse_endless_body(request)
        except ApiError as error:
            return refusal(request, error)
        return self.get_response(request)


def _refuse_foreign_host(request: HttpRequest) -> None:
    try:
        request.get_host()
    except DisallowedHost as error:
        # One line. Django itself would log a traceback for each such request, which anyone can send.
        log.warning("host refused", host=request.META.get("HTTP_HOST", "")[:_LONGEST_HOST_LOGGED])
        raise ApiError(
            400, "invalid_request", "The Host header does not match a host of this console."
        ) from error


def _refuse_long_address(request: HttpRequest) -> None:
    if len(request.META["PATH_INFO"]) + len(request.META.get("QUERY_STRING", "")) > MAX_ADDRESS_BYTES:
        raise ApiError(414, "too_large", f"The URL is over {MAX_ADDRESS_BYTES // 1024} KiB.")


def _refuse_endless_body(request: HttpRequest) -> None:
    match request.META.get(PROBLEM):
        case Problem.NO_LENGTH:
            raise ApiError(411, "length_required", "Send a Content-Length header.")
        case Problem.CODING:
            raise ApiError(
                400, "invalid_json", "Send the body with either Content-Length or chunked encoding."
            )
        case Problem.BROKEN:
            raise ApiError(400, "invalid_json", "The body is incomplete.")
    if is_api(request):
        return  # its own limits are lower
    try:
        too_large = int(request.META.get("CONTENT_LENGTH") or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    except ValueError:
        too_large = True
    if too_large:
        raise ApiError(413, "too_large", "The form is too large.")
