"""The agent's listening socket, and the HTTP server behind it."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from .. import logs
from ..exits import CannotRun, ExitCode
from .refusals import error_document

IDLE_SECONDS = 15.0
SPARE_CONNECTIONS = 64  # for validators and health checks, besides those of the requests under way

# the kernel has no IPv6, or it is disabled
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}

# aiohttp would log requests and the messages of errors, which may contain prompts
_silent = logging.getLogger("jatevo_agent.gateway.aiohttp")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. `::` also answers IPv4. On a machine without IPv6 it answers only IPv4.

    Raises CannotRun if the address is taken or does not belong to this machine.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        raise CannotRun(
            f"listen: {host}:{port} cannot be used: {error.strerror or error}.", ExitCode.TRY_LATER
        ) from error


class HttpServer(web.Server):
    """An HTTP server with a limit of connections, whose errors are JSON."""

    def __init__(self, handler: Any, most_connections: int) -> None:
        self._settings: dict[str, Any] = {
            "access_log": None,
            "logger": _silent,
            "keepalive_timeout": IDLE_SECONDS,
            "lingering_time": 0,
            "auto_decompress": False,
        }
        self._handle_request = handler
        super().__init__(self._answer, handler_cancellation=True)
        self.most_connections = most_connections

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, _Connection):
            connection.has_asked = True
        response: web.StreamResponse = await self._handle_request(request)
        return response

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._settings)


class _Connection(web.RequestHandler):
    has_asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close the connection if all are in use, because the node's own work takes precedence."""
        server = self._manager
        if isinstance(server, HttpServer) and len(server.connections) >= server.most_connections:
            transport.abort()  # type: ignore[attr-defined]
            return
        super().connection_made(transport)
        # aiohttp before 3.14, which Python 3.9 has, only closes idle connections that have asked before
        asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_unless_asked)

    def _close_unless_asked(self) -> None:
        if not self.has_asked and self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, and to a bug. Neither is logged with its content."""
        if status < 500:
            document = error_document("invalid_request", "The request is not valid HTTP.")
        else:
            logs.error("a request failed because of a bug", reason=type(exc).__name__)
            document = error_document("internal_error", "The agent failed. The request was not completed.")
        response = json_response(document, status, {})
        response.force_close()
        return response


def json_response(document: Any, status: int, headers: Mapping[str, str]) -> web.Response:
    """An answer in JSON, which is UTF-8 without saying so."""
    body = json.dumps(document).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def _bound(host: str, port: int) -> socket.socket:
    if ":" not in host:
        return _bound_in(socket.AF_INET, host, port)
    try:
        return _bound_in(socket.AF_INET6, host, port)
    except OSError as error:
        if host == "::" and error.errno in _NO_IPV6:
            return _bound_in(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - `::` asks for it
        raise


def _bound_in(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # whether `::` includes IPv4 differs between systems
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((host, port))
        bound.listen(SPARE_CONNECTIONS)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound
