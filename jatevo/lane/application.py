"""The lane's ASGI application. Its rules are those of the DRF endpoints (nodes/ingress/signed.py)."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final, Protocol

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
django.setup(set_prefix=False)

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host

from jatevo.lane.requests import Body, Headers, Receive
from jatevo.telemetry import metrics, tracing
from jatevo.web import probes
from jatevo.web.address import address_behind_proxies
from jatevo.web.errors import ApiError, from_exception, not_found, unavailable
from jatevo.web.front_door import MAX_ADDRESS_BYTES
from jatevo.web.garbage import freeze_what_is_loaded
from jatevo.web.gathering import TooManyWaiting
from jatevo.web.json import dump
from jatevo.web.machine_requests import constant_headers
from jatevo.web.observed import end_request
from jatevo.web.request_id import adopt
from nodes.ingress.challenges import CHALLENGES
from nodes.ingress.gathered import gather
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.ingress.probes import PROBES
from nodes.ingress.signed import Answered, SignedEndpoint, SignedRequest
from receipts.dispatches.posting import DISPATCHES
from receipts.posting import RECEIPTS

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Of bodies that are being read or wait. A stranger can send some before anything about him is checked.
MOST_BYTES_HELD: Final = 128 * 1024 * 1024


class Asks(Protocol):
    """What answers an endpoint's requests, such as a Gatherer."""

    async def ask(self, question: SignedRequest) -> Answered: ...

    def close(self) -> None: ...


class Lane:
    """Answers POSTs to the paths of the endpoints, and /healthz and /readyz of this process."""

    def __init__(
        self,
        endpoints: Iterable[SignedEndpoint[Any]],
        *,
        asks: Callable[[SignedEndpoint[Any]], Asks] = gather,
    ) -> None:
        self._endpoints = {each.path: (each, asks(each)) for each in endpoints}
        self.paths = frozenset(self._endpoints)
        self._routes = {*self.paths, *_PROBES}
        self._headers = {secure: _encoded(constant_headers(secure=secure)) for secure in (False, True)}
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        headers = Headers(scope["headers"])
        span = _begin(scope, headers) if tracing.is_on() else None
        request_id = adopt(headers.get(b"x-request-id"))
        sent = Body(receive, headers)
        if scope["path"] in _PROBES:
            answered = await asyncio.to_thread(_PROBES[scope["path"]], HttpRequest())
            status, body, extra = answered.status_code, answered.content, dict(answered.items())
        else:
            answer = await self._answer(scope, headers, sent, request_id, span)
            if isinstance(answer, ApiError):
                status, body, extra = answer.status, dump(answer.body()), answer.headers
            else:
                status, body, extra = answer.status, dump(answer.body), {}
        route = scope["path"] if scope["path"] in self._routes else metrics.OTHER
        metrics.answered(route, status, time.perf_counter() - began)
        if span is not None:
            end_request(span, method=scope["method"], route=route, code=status, request_id=request_id)
        await sent.linger()
        extra = {"Content-Type": "application/json", **extra, "x-request-id": request_id}
        extra["Content-Length"] = str(len(body))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*self._headers[_is_secure(scope, headers)], *_encoded(extra)],
            }
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(
        self, scope: Scope, headers: Headers, sent: Body, request_id: str, span: tracing.Span | None
    ) -> Answered:
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held_bytes += size
            if self._held_bytes > MOST_BYTES_HELD:
                raise TooManyWaiting

        try:
            _refuse_foreign_host(headers.get(b"host"))
            if len(scope["path"]) + len(scope.get("query_string", b"")) > MAX_ADDRESS_BYTES:
                raise ApiError(414, "too_large", f"The URL is over {MAX_ADDRESS_BYTES // 1024} KiB.")
            if scope["path"] not in self._endpoints:
                raise not_found()
            endpoint, asks = self._endpoints[scope["path"]]
            if scope["method"] != "POST":
                raise ApiError(405, "method_not_allowed", "This endpoint does not accept that method.")
            _refuse_endless_body(headers, scope.get("http_version", "1.1"))
            body = await sent.read(endpoint.most_bytes, hold)
            client = scope.get("client") or ("", 0)
            return await asks.ask(
                SignedRequest(
                    headers.get(endpoint.header.lower().encode()),
                    headers.get(b"webhook-id"),
                    headers.get(b"webhook-timestamp"),
                    headers.get(b"webhook-signature"),
                    body,
                    address_behind_proxies(str(client[0]), headers.get(b"x-forwarded-for")),
                    request_id,
                    span=span,
                )
            )
        except TooManyWaiting:
            return unavailable("The console")
        except Exception as error:
            return from_exception(error)
        finally:
            self._held_bytes -= held

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                for _, asks in self._endpoints.values():
                    await asyncio.to_thread(asks.close)
                await asyncio.to_thread(tracing.flush)
                await send({"type": "lifespan.shutdown.complete"})
                return


_PROBES: Mapping[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": probes.healthz,
    "/readyz": probes.readyz,
}


def _begin(scope: Scope, headers: Headers) -> tracing.Span | None:
    if scope["path"] in _PROBES:
        return None
    return tracing.begin(
        "request", traceparent=headers.get(b"traceparent"), tracestate=headers.get(b"tracestate")
    )


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def _is_secure(scope: Scope, headers: Headers) -> bool:
    """Whether the client's connection is encrypted, as the proxy says if settings name its header."""
    if settings.SECURE_PROXY_SSL_HEADER is None:
        return bool(scope.get("scheme") == "https")
    name, value = settings.SECURE_PROXY_SSL_HEADER
    said = headers.get(name.removeprefix("HTTP_").replace("_", "-").lower().encode())
    return said.partition(",")[0].strip() == value


def _refuse_foreign_host(host: str) -> None:
    if not _known_host(host, tuple(settings.ALLOWED_HOSTS)):
        raise ApiError(400, "invalid_request", "The Host header does not match a host of this console.")


@lru_cache(maxsize=1024)
def _known_host(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


def _refuse_endless_body(headers: Headers, version: str) -> None:
    coding = headers.get(b"transfer-encoding").strip().lower()
    old = version == "1.0"
    if coding and (coding != "chunked" or old):
        raise ApiError(400, "invalid_json", "Send the body with either Content-Length or chunked encoding.")
    if old and not coding and not headers.get(b"content-length"):
        raise ApiError(411, "length_required", "Send a Content-Length header.")


application = Lane((HEARTBEATS, CHALLENGES, RECEIPTS, PROBES, DISPATCHES))
freeze_what_is_loaded()
