"""uvicorn's HTTP protocol with a limit for what surrounds a body, which uvicorn lacks, and without trailers.

The proxy has such a limit, too. This one is for a lane that can be reached past the proxy.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES_AROUND: Final = 128 * 1024


class BoundedHttp(HttpToolsProtocol):
    """Answers 400 and hangs up once the request line and headers of a request, or its trailers, are too large.

    Trailers are dropped. uvicorn takes them for headers, so that a client could add to what the proxy says of it.
    """

    _in_head = False
    _got_on = False  # in what was received last, a head, a piece of a body or a request came to its end
    _bytes_around = 0  # since then

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._bytes_around = 0 if self._got_on else self._bytes_around + len(data)
        if self._bytes_around > MOST_BYTES_AROUND and not self.transport.is_closing():
            self.send_400_response("What comes before or after the body is too large.")

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        super().on_message_complete()
