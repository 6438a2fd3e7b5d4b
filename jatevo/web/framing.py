"""WSGI middleware that makes servers agree on where a request's body ends and that HEAD has no body.

Servers differ. granian passes a chunked body on without a length, and Django then reads nothing. waitress
sends the body that the application returns for HEAD.

granian does not distinguish a chunked body that was cut off from a complete one. A JSON text that was cut off
is invalid, so it is refused anyway. An empty chunked body could be one that was cut off at the start, so it
is refused here.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum
from typing import Any

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

PROBLEM = "jatevo.framing"  # key in the environ for a problem with the body
_WITH_BODIES = frozenset({"POST", "PUT", "PATCH"})
_OLD = frozenset({"HTTP/1.0", "HTTP/1"})  # granian's name for it is the second
_CHUNK_BYTES = 64 * 1024
# Read and discarded beyond what is used.
LINGER_BYTES = 8 * 1024 * 1024


class Problem(StrEnum):
    """Why the end of the body cannot be determined."""

    CODING = "coding"  # a transfer coding other than chunked, or one in HTTP/1.0
    NO_LENGTH = "no length"  # HTTP/1.0 with neither length nor chunks
    BROKEN = "broken"  # the chunks are malformed, or the connection ended early


class Framing:
    """Gives chunked bodies a length, up to one byte beyond `most_bytes`, and answers HEAD without a body.

    What the application leaves of a body is discarded, up to a limit, because a client that is cut off while sending
    sees no answer: it would hear of a broken pipe instead of 413 or 404.

    A problem with the body is set in the environ under PROBLEM, so that the application can answer it.
    """

    def __init__(self, application: WsgiApplication, *, most_bytes: int) -> None:
        self._application = application
        self._most_bytes = most_bytes

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _settle_body(environ, self._most_bytes)
        answer = self._application(environ, start_response)
        if environ.get("CONTENT_LENGTH") and not environ.get("HTTP_EXPECT"):  # it may wait for 100 Continue
            with suppress(OSError, ValueError):
                _linger(environ["wsgi.input"])
        if environ["REQUEST_METHOD"] != "HEAD":
            return answer
        if close := getattr(answer, "close", None):
            close()
        return []


def _settle_body(environ: dict[str, Any], most_bytes: int) -> None:
    coding = environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower()
    old = environ.get("SERVER_PROTOCOL") in _OLD
    if not coding:
        if old and environ["REQUEST_METHOD"] in _WITH_BODIES and not environ.get("CONTENT_LENGTH"):
            _refuse(environ, Problem.NO_LENGTH)
        return
    if coding != "chunked" or old:
        _refuse(environ, Problem.CODING)
        return
    try:
        body = _read(environ["wsgi.input"], most_bytes + 1)
        _linger(environ["wsgi.input"])
    except (OSError, ValueError):
        body = b""
    if not body:
        _refuse(environ, Problem.BROKEN)
        return
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))


def _linger(stream: Any) -> None:
    """Reads the rest of the body, up to a limit. May raise OSError or ValueError if the connection broke."""
    left = LINGER_BYTES
    while left > 0 and (piece := stream.read(_CHUNK_BYTES)):
        left -= len(piece)


def _read(stream: Any, most_bytes: int) -> bytes:
    body = bytearray()
    while len(body) < most_bytes and (piece := stream.read(min(_CHUNK_BYTES, most_bytes - len(body)))):
        body += piece
    return bytes(body)


def _refuse(environ: dict[str, Any], problem: Problem) -> None:
    environ[PROBLEM] = problem
    environ["wsgi.input"] = io.BytesIO()
    environ["CONTENT_LENGTH"] = "0"
