"""The short way of the requests of agents, validators and gateways.

They are most of the traffic, and sign their requests, so they need nothing that is done for people: sessions, cookies,
CSRF, second factors, time zones, messages, static files, compression. The rest is done by the same middleware as for
other requests, so answers and metrics are the same (tests/web/test_machine_requests.py).
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, resolve
from django_prometheus.middleware import PrometheusAfterMiddleware

from jatevo.web.front_door import FrontDoorMiddleware
from jatevo.web.middleware import ApiGateMiddleware, is_ingress

Next = Callable[[HttpRequest], HttpResponse]


class MachineRequestsMiddleware:
    """Answers the requests of `is_ingress`, and passes on all others."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        # from the inside out
        self._metrics = PrometheusAfterMiddleware(self._respond)
        self._gate = ApiGateMiddleware(_safely(self._metrics))
        self._answer = _safely(self._gate)
        for middleware in (XFrameOptionsMiddleware, FrontDoorMiddleware, SecurityMiddleware):
            self._answer = _safely(middleware(self._answer))
        # The policy is constant, because the answers have no nonce. Building it takes longer than all other headers.
        empty = cast(HttpResponse, CSPMiddleware(lambda _: HttpResponse())(HttpRequest()))
        self._policy = dict(empty.items())

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_ingress(request):
            return self.get_response(request)
        response = self._answer(request)
        for name, value in self._policy.items():
            response.setdefault(name, value)
        return response

    def _respond(self, request: HttpRequest) -> HttpResponse:
        """Calls the view and the hooks of the middleware around it, as Django's handler does."""
        request.user = AnonymousUser()
        request.resolver_match = match = _resolved(request.path_info, settings.ROOT_URLCONF)
        refused = self._gate.process_view(request, match.func, match.args, match.kwargs)
        if refused is not None:
            return refused
        self._metrics.process_view(request, match.func, match.args, match.kwargs)
        try:
            response: HttpResponse = match.func(request, *match.args, **match.kwargs)
            if isinstance(response, SimpleTemplateResponse):  # as DRF's are
                response = self._metrics.process_template_response(request, response).render()
            return response
        except Exception as error:
            self._metrics.process_exception(request, error)
            answer = self._gate.process_exception(request, error)
            if answer is None:
                raise
            return answer


def constant_headers(*, secure: bool) -> dict[str, str]:
    """The headers that all answers to machines have alike, over TLS or not."""
    response = HttpResponse()
    del response["Content-Type"]
    request = HttpRequest()
    request.is_secure = lambda: secure  # type: ignore[method-assign]
    answer: Any = lambda _: response  # noqa: E731 - the innermost of the middleware
    for middleware in (CSPMiddleware, XFrameOptionsMiddleware, SecurityMiddleware):
        answer = middleware(answer)
    return dict(answer(request).items())


def _safely(middleware: Any) -> Next:
    """As Django wraps each middleware: its exceptions become answers, which pass those around it."""
    return cast(Next, convert_exception_to_response(middleware))


@cache
def _resolved(path: str, urls: str) -> ResolverMatch:
    return resolve(path, urls)
