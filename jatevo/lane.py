"""The ingress lane: an ASGI application for what machines post most, beside the console's WSGI processes.

    granian --interface asgi --workers 1 jatevo.lane:application

The proxy sends it POST /v1/nodes/heartbeat, /v1/nodes/challenge, /v1/receipts, /v1/probes and /v1/dispatches. Their rules
are those of the DRF endpoints (nodes/ingress/signed.py). What differs is that requests that come at the same time are
answered together, and that Django's HTTP handler is not asked.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Protocol

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
django.setup(set_prefix=False)

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host

from jatevo.telemetry import metrics, tracing
from jatevo.web import probes
from jatevo.web.address import address_behind_proxies
from jatevo.web.errors import ApiError, from_exception, not_found, unavailable
from jatevo.web.framing import LINGER_BYTES
from jatevo.web.front_door import MAX_ADDRESS_BYTES
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
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
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
        headers = _Headers(scope["headers"])
        span = _begin(scope, headers) if tracing.is_on() else None
        request_id = adopt(headers.get(b"x-request-id"))
        sent = _Body(receive, headers)
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
        self, scope: Scope, headers: "_Headers", sent: "_Body", request_id: str, span: tracing.Span | None
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
                await send({"type": "lifespan.shutdown.complete"})
                return


_PROBES: Mapping[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": probes.healthz,
    "/readyz": probes.readyz,
}


def _begin(scope: Scope, headers: "_Headers") -> tracing.Span | None:
    if scope["path"] in _PROBES:
        return None
    return tracing.begin(
        "request", traceparent=headers.get(b"traceparent"), tracestate=headers.get(b"tracestate")
    )


class _Headers:
    """Header lines by lower-case name. Repeated ones are joined by commas, as in WSGI."""

    __slots__ = ("_values",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, bytes] = {}
        for name, value in raw:
            before = self._values.get(name)
            self._values[name] = value if before is None else before + b"," + value

    def get(self, name: bytes) -> str:
        """The value, or '' without it."""
        value = self._values.get(name)
        return "" if value is None else value.decode("latin-1")


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def _is_secure(scope: Scope, headers: _Headers) -> bool:
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


def _refuse_endless_body(headers: _Headers, version: str) -> None:
    coding = headers.get(b"transfer-encoding").strip().lower()
    old = version == "1.0"
    if coding and (coding != "chunked" or old):
        raise ApiError(400, "invalid_json", "Send the body with either Content-Length or chunked encoding.")
    if old and not coding and not headers.get(b"content-length"):
        raise ApiError(411, "length_required", "Send a Content-Length header.")


class _Body:
    """A request's body, as it comes in pieces."""

    __slots__ = ("_headers", "_more", "_receive")

    def __init__(self, receive: Receive, headers: _Headers) -> None:
        self._receive = receive
        self._headers = headers
        self._more = True

    async def read(self, most_bytes: int, hold: Callable[[int], None]) -> bytes:
        """All of it. Raises ApiError for one that is too large, cut off or no JSON, and what `hold` raises for a piece."""
        announced = self._headers.get(b"content-length")
        if announced.isdecimal() and int(announced) > most_bytes:
            raise _too_large(most_bytes)
        pieces = []
        size = 0
        while self._more:
            piece = await self._piece()
            size += len(piece)
            if size > most_bytes:
                raise _too_large(most_bytes)
            hold(len(piece))
            pieces.append(piece)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if (
            body
            and self._headers.get(b"content-type").partition(";")[0].strip().lower() != "application/json"
        ):
            raise ApiError(415, "unsupported_media_type", "Send application/json.")
        return bytes(body)

    async def linger(self) -> None:
        """Discards what was not read, up to a limit, because a client that is cut off while sending sees no answer.

        Without this, one that sends a batch that is too large would hear of a broken pipe instead of 413.
        """
        if not self._more:
            return
        left = LINGER_BYTES if self._is_on_its_way() else 0
        with suppress(ApiError):
            while self._more and left > 0:
                left -= len(await self._piece())

    async def _piece(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._more = False
            raise ApiError(400, "invalid_json", "The body is incomplete.")
        self._more = message.get("more_body", False)
        return message.get("body", b"")

    def _is_on_its_way(self) -> bool:
        if self._headers.get(b"expect"):  # it waits for 100 Continue, which asking for a piece would send
            return False
        length = self._headers.get(b"content-length")
        return bool(self._headers.get(b"transfer-encoding")) or length not in ("", "0")


def _too_large(most_bytes: int) -> ApiError:
    return ApiError(413, "too_large", f"The body is over {most_bytes // 1024} KiB.")


application = Lane((HEARTBEATS, CHALLENGES, RECEIPTS, PROBES, DISPATCHES))
