"""Middleware for every request: its id, its time budget, and for /v1 the contract's error shape."""

from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers

from jatevo.web.errors import ApiError, from_exception, log_outage, to_response
from jatevo.web.front_door import is_api
from jatevo.web.pages import bad_request, refused_page, unavailable_page
from jatevo.web.postgresql.budgets import INGEST, PAGE, working
from jatevo.web.probes import LIVENESS_PATH, healthz
from jatevo.web.replay import release_message
from jatevo.web.request_id import HEADER, adopt

log = structlog.get_logger(__name__)

Next = Callable[[HttpRequest], HttpResponse]

# What machines ask with their own credentials. Cookies are ignored there.
INGRESS = frozenset(
    {
        ("POST", "/v1/nodes/register"),
        ("POST", "/v1/nodes/heartbeat"),
        ("POST", "/v1/nodes/challenge"),
        ("POST", "/v1/receipts"),
        ("POST", "/v1/dispatches"),
        ("POST", "/v1/probes"),
        ("GET", "/v1/validators/assignments"),
    }
)
BATCHES = frozenset({"/v1/receipts", "/v1/dispatches"})  # which take larger bodies


def is_ingress(request: HttpRequest) -> bool:
    """Whether this is a request of an agent, a validator or a gateway."""
    return (request.method, request.path_info) in INGRESS


class RequestIdMiddleware:
    """Gives each request an id, binds it to the log lines, and returns it."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = adopt(request.headers.get(HEADER))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response[HEADER] = request_id
        if not response.streaming and "Content-Length" not in response:
            # Django sets it only in CommonMiddleware. Without a length, the connection must be closed.
            response["Content-Length"] = str(len(response.content))
        return response


class LivenessMiddleware:
    """Answers /healthz before any code that could ask a store, whatever cookies and host the request has."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return healthz(request) if request.path_info == LIVENESS_PATH else self.get_response(request)


class BudgetMiddleware:
    """Limits each request's time with PostgreSQL. Streamed parts are limited for each statement."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with working(INGEST if is_ingress(request) else PAGE):
            return self.get_response(request)


class ApiGateMiddleware:
    """For /v1: limits the body, accepts only JSON, and gives all errors the contract's shape."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not is_api(request):
            return response
        release_message(request, response)
        if response.status_code >= 400 and not response.get("Content-Type", "").startswith(
            "application/json"
        ):
            return to_response(_ERRORS.get(response.status_code, _ERRORS[500]))
        if request.method in ("GET", "HEAD") and "Cache-Control" not in response:
            # the answer depends on the caller, also with a bearer token instead of a cookie
            response["Cache-Control"] = "private, no-cache"
            patch_vary_headers(response, ["Authorization", "Cookie"])
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Answers 405 to a method that the route does not support, before its body is checked."""
        methods = getattr(getattr(view, "cls", None), "http_method_names", None)
        if is_api(request) and (methods is None or str(request.method).lower() in methods):
            try:
                _refuse_large_or_foreign(request)
            except ApiError as error:
                return to_response(error)
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if is_api(request):
            return to_response(from_exception(error))
        if isinstance(error, (OperationalError, InterfaceError)):
            log_outage(error)
            return unavailable_page(request)
        if isinstance(error, ApiError):  # a limit, or a cap
            return refused_page(request, error)
        if isinstance(error, (DataError, OverflowError)) and request.method in ("GET", "HEAD"):
            # Django admin uses query values unchecked, such as U+0000 or years of 400 digits.
            log.warning("a page was asked for with impossible values", error=repr(error))
            return bad_request(request, error)
        return None


def _refuse_large_or_foreign(request: HttpRequest) -> None:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    limit = settings.MAX_BATCH_BODY_BYTES if request.path_info in BATCHES else settings.MAX_BODY_BYTES
    too_large = ApiError(413, "too_large", f"The body is over {limit // 1024} KiB.")
    try:
        announced = int(request.META.get("CONTENT_LENGTH") or 0)
        if announced > limit:
            raise too_large
        body = request.body
    except (RequestDataTooBig, ValueError) as error:
        raise too_large from error
    except (RawPostDataException, OSError) as error:
        raise ApiError(400, "invalid_json", "The body is incomplete.") from error
    if len(body) < announced:
        raise ApiError(400, "invalid_json", "The body is incomplete.")
    if body and request.content_type != "application/json":
        raise ApiError(415, "unsupported_media_type", "Send application/json.")


_ERRORS = {
    400: ApiError(400, "invalid_request", "The request is malformed."),
    403: ApiError(403, "forbidden", "This is not allowed."),
    404: ApiError(404, "not_found", "Not found, or you do not have access to it."),
    405: ApiError(405, "method_not_allowed", "This endpoint does not accept that method."),
    413: ApiError(413, "too_large", "The body is too large."),
    500: ApiError(500, "internal_error", "Something went wrong on our side. The error has been logged."),
    503: ApiError(
        503, "unavailable", "A store did not respond in time. Nothing was acknowledged. Try again."
    ),
}


class PageGZipMiddleware(GZipMiddleware):
    """Compresses pages and exports. Answers of the API are short, so they are not compressed. Nor is a file that can be
    had in ranges, because they count its bytes.

    Django adds random padding to compressed answers, so that their length reveals nothing about their
    content.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if is_api(request) or "Accept-Ranges" in response:
            return response
        return super().process_response(request, response)
