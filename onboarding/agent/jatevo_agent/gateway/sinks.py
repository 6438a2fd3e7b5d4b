"""Where an answer goes: to a client's socket, or to the agent itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

SLOW_CLIENT_SECONDS = 60.0


class ClientGone(Exception):
    """The client has closed the connection, or takes nothing any more."""


class Sink(Protocol):
    """Takes an answer. Each method raises ClientGone."""

    async def start(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        """Begin an answer, of `length` bytes if that is known."""

    async def write(self, data: bytes) -> None:
        """Write a part. When this returns, the operating system has all of it."""

    async def end(self) -> None:
        """End the answer."""

    def abort(self) -> None:
        """Cut the answer off, so that the client knows that it is not complete."""


class ClientSocket:
    """The client of an HTTP request."""

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self.headers = dict(headers)
        """The headers of every answer."""
        self._writer: AbstractStreamWriter | None = None
        self.response: web.StreamResponse | None = None

    async def start(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ClientGone
        # drain() then waits until the operating system has everything
        transport.set_write_buffer_limits(high=0)
        response = web.StreamResponse(status=status, headers={**self.headers, **headers})
        response.content_length = length
        try:
            self._writer = await response.prepare(self._request)
        except ConnectionError:  # aiohttp's is also a ClientError, which would be taken for the runtime's
            raise ClientGone from None
        self.response = response

    async def write(self, data: bytes) -> None:
        writer, transport = self._writer, self._request.transport
        if writer is None or transport is None:
            raise ClientGone
        too_slow = asyncio.get_running_loop().call_later(SLOW_CLIENT_SECONDS, self.abort)
        try:
            await writer.write(data)
            if transport.get_write_buffer_size():
                await writer.drain()
        except ConnectionError:
            raise ClientGone from None
        finally:
            too_slow.cancel()

    async def end(self) -> None:
        if self.response is None:
            raise ClientGone
        try:
            await self.response.write_eof()
        except ConnectionError:
            raise ClientGone from None

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


class Kept:
    """Takes an answer for the agent itself. What it says is read from what was delivered."""

    async def start(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        """Nothing is kept."""

    async def write(self, data: bytes) -> None:
        """Nothing is kept."""

    async def end(self) -> None:
        """Nothing to do."""

    def abort(self) -> None:
        """Nothing to do."""
