"""Measures and traces every request, and counts what people do on pages."""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest, HttpResponse

from jatevo.telemetry import metrics, tracing
from jatevo.web.page_events import count_event
from jatevo.web.probes import LIVENESS_PATH
from jatevo.web.request_id import HEADER

Next = Callable[[HttpRequest], HttpResponse]

# What supervisors and Prometheus ask all the time. They are measured, but not recorded.
UNTRACED: Final = frozenset({LIVENESS_PATH, "/readyz", "/metrics"})
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CONVERTER: Final = re.compile(r"<\w+:")


class ObservedMiddleware:
    """The outermost of the middleware, so that it sees what a caller sees."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        span = self._begin(request)
        if span is None:
            response = self.get_response(request)
        else:
            with tracing.within(span):
                response = self.get_response(request)
        route, code = route_of(request), response.status_code
        metrics.answered(route, code, time.perf_counter() - began)
        if span is not None:
            method, request_id = request.method or "", response.get(HEADER, "")
            end_request(span, method=method, route=route, code=code, request_id=request_id)
        count_event(request, response)
        return response

    def _begin(self, request: HttpRequest) -> tracing.Span | None:
        if not tracing.is_on() or request.path_info in UNTRACED or _is_static(request):
            return None
        return tracing.begin(
            "request",
            traceparent=request.headers.get("traceparent", ""),
            tracestate=request.headers.get("tracestate", ""),
        )


def end_request(span: tracing.Span, *, method: str, route: str, code: int, request_id: str) -> None:
    """Ends a request's span. It has no address, because addresses may contain codes and tokens."""
    method = method if method in METHODS else "_OTHER"
    span.name(f"{method} {route}")
    span.set(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": code,
            "jatevo.request_id": request_id,
        }
    )
    if code >= 500:
        span.fail(str(code))
    span.end()


def route_of(request: HttpRequest) -> str:
    """The pattern of the request's URL, such as `/nodes/<name>/`, or `other` if there is none."""
    match = request.resolver_match
    if match is not None:
        return _readable(match.route)
    if request.path_info == LIVENESS_PATH:
        return LIVENESS_PATH
    return settings.STATIC_URL if _is_static(request) else metrics.OTHER


def _is_static(request: HttpRequest) -> bool:
    return request.path_info.startswith(settings.STATIC_URL)


@lru_cache(maxsize=1024)
def _readable(route: str) -> str:
    """`nodes/^(?P<name>[a-z]+)/$` as `/nodes/<name>/`, and `<uuid:id>` as `<id>`."""
    return _CONVERTER.sub("<", simplify_regex(route))
