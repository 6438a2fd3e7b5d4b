"""HTTP/1.1 over a bare socket, for requests that no client would send, with every byte of the answer."""

import io
import json
import socket
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import Any, cast

ANSWER_SECONDS = 30.0
CHUNK_BYTES = 1000
HOST = "Host: 127.0.0.1"


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _Shared:
    """One buffered reader for all answers of a connection. Separate ones would take bytes of the next answer."""

    def __init__(self, reader: io.BufferedReader) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> "_Shared":
        return self

    def close(self) -> None:
        """Does nothing, because the connection is used for further answers."""

    def flush(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class RawConnection:
    """A connection. `send` takes whole requests, and `answer` reads one answer to a method."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> "RawConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, *parts: bytes) -> "RawConnection":
        self._socket.sendall(b"".join(parts))
        return self

    def end(self) -> "RawConnection":
        """Send no more. The other side may still answer."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def line(self) -> bytes:
        """A raw line, such as that of an interim answer."""
        return self._reader.readline().strip()

    def answer(self, method: str = "GET") -> RawAnswer:
        found = HTTPResponse(cast(socket.socket, _Shared(self._reader)), method=method)
        found.begin()
        return RawAnswer(found.status, found.headers, found.read())


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    *headers: str,
    chunked: bool = False,
    version: str = "1.1",
    host: str = HOST,
) -> bytes:
    """The bytes of a request. A body is JSON, with its length or in chunks."""
    lines = [f"{method} {path} HTTP/{version}", host, *headers]
    if body is None:
        return "\r\n".join([*lines, "", ""]).encode()
    lines += ["Content-Type: application/json"]
    if chunked:
        return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode() + in_chunks(body)
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def in_chunks(body: bytes) -> bytes:
    pieces = [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
