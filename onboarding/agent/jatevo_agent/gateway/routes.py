"""The paths of the agent's listener, and who may ask for which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from .access import Access, is_loopback
from .asked import Asked, BadRequest, Kind, parse
from .listener import json_response
from .long_work import worked
from .refusals import Refused, error_document
from .sinks import ClientSocket

MOST_BODY_BYTES = 32 * 1024 * 1024  # prompts may have images
BODY_SECONDS = 60.0

Serve = Callable[[Asked, ClientSocket, str, str, bool], Awaitable[None]]
"""Serves a request: what is asked, the client, the dispatched and the suggested id, and whether it is hedged."""


class Routes:
    """Answers every HTTP request of the listener."""

    def __init__(
        self,
        access: Access,
        *,
        node_id: str,
        need_client_certificate: bool,
        health: Callable[[list[str]], dict[str, Any]],
        model_names: Callable[[], list[str]],
        metrics: Callable[[], str],
        serve: Serve,
        count_refusal: Callable[[str], None],
    ) -> None:
        self._access = access
        self._node_id = node_id
        self._need_client_certificate = need_client_certificate
        self._health = health
        self._model_names = model_names
        self._metrics = metrics
        self._serve = serve
        self._count_refusal = count_refusal
        self._kinds = {f"/v1/{kind.value}": kind for kind in Kind}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            if not self._access.may_connect(request.remote or ""):
                raise Refused(
                    HTTPStatus.FORBIDDEN,
                    "forbidden",
                    "This address may not connect to this node.",
                    close=True,
                )
            return await self._dispatch(request)
        except Refused as refused:
            self._count_refusal(refused.reason)
            return self._refusal(refused)

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        kind = self._kinds.get(path)
        expected = "POST" if kind else "GET"
        if kind is None and path not in {"/healthz", "/metrics", "/v1/models"}:
            raise Refused(HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this address.")
        if request.method != expected:
            raise Refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method_not_allowed",
                f"Only {expected} is served here.",
                close=True,
            )
        if path == "/healthz":
            return self._json(self._health(request.query.getall("nonce", [])))
        if path == "/metrics" and is_loopback(request.remote or ""):
            return self._text(self._metrics())
        self._require_gateway(request)
        if path == "/metrics":
            return self._text(self._metrics())
        if kind is None:
            return self._json(_model_list(self._model_names()))
        return await self._complete(request, kind)

    async def _complete(self, request: web.BaseRequest, kind: Kind) -> web.StreamResponse:
        body = await _body(request)
        try:
            asked = await worked(lambda: parse(kind, body), len(body))
        except BadRequest as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "invalid_request", str(error)) from None
        client = ClientSocket(request, self._headers())
        await self._serve(
            asked,
            client,
            request.headers.get("X-Jatevo-Request-Id", ""),
            request.headers.get("X-Request-Id", ""),
            request.headers.get("X-Jatevo-Hedged", "").lower() in {"1", "true"},
        )
        if client.response is None:
            raise ConnectionResetError  # it left before there was an answer
        return client.response

    def _require_gateway(self, request: web.BaseRequest) -> None:
        if self._need_client_certificate:
            transport = request.transport
            if transport is None or not transport.get_extra_info("peercert"):
                raise Refused(
                    HTTPStatus.FORBIDDEN, "forbidden", "A client certificate is needed for this address."
                )
        self._access.require_key(request.headers.get("Authorization", ""))

    def _refusal(self, refused: Refused) -> web.StreamResponse:
        response = self._json(error_document(refused.reason, refused.message), refused.status)
        if refused.retry_after_seconds is not None:
            response.headers["Retry-After"] = str(refused.retry_after_seconds)
        if refused.status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        if refused.close:
            response.force_close()
        return response

    def _json(self, document: Any, status: int = HTTPStatus.OK) -> web.Response:
        return json_response(document, status, self._headers())

    def _text(self, text: str) -> web.Response:
        return web.Response(text=text, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {
            "Server": "jatevo-agent",
            "Cache-Control": "no-store",
            "X-Jatevo-Node-Id": self._node_id,
        }


async def _body(request: web.BaseRequest) -> bytes:
    """The body of a request. Raises Refused if it is too long, too slow or compressed."""
    too_long = Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_large",
        f"The body must be at most {MOST_BODY_BYTES // 1024 // 1024} MiB.",
        close=True,
    )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body must not be compressed."
        )
    length: int | None = request.content_length
    if length is not None and length > MOST_BODY_BYTES:
        raise too_long
    body = bytearray()
    try:
        while data := await asyncio.wait_for(request.content.readany(), BODY_SECONDS):
            body += data
            if len(body) > MOST_BODY_BYTES:
                raise too_long
    except asyncio.TimeoutError:
        raise Refused(
            HTTPStatus.REQUEST_TIMEOUT, "timeout", "The body did not arrive in time.", close=True
        ) from None
    return bytes(body)


def _model_list(names: list[str]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "jatevo"} for name in names],
    }
