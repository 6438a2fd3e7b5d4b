"""Requests as an ASGI server passes them on: header lines, and a body that comes in pieces."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any

from jatevo.web.errors import ApiError
from jatevo.web.framing import LINGER_BYTES

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Headers:
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


class Body:
    """A request's body, as it comes in pieces."""

    __slots__ = ("_headers", "_more", "_receive")

    def __init__(self, receive: Receive, headers: Headers) -> None:
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
