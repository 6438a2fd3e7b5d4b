"""A node's gateway that answers as a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def chunk(text: str = "", **more: Any) -> bytes:
    document = {"choices": [{"index": 0, "delta": {"content": text} if text else {}}], **more}
    return f"data: {json.dumps(document)}\n\n".encode()


DONE = b"data: [DONE]\n\n"
STREAM = (
    chunk(),
    chunk("Blue"),
    chunk(" light scatters."),
    b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}\n\n',
    DONE,
)


@dataclass
class FakeNode:
    """What it answers, and what it was asked."""

    parts: tuple[bytes, ...] = STREAM
    status: int = 200
    hangs: bool = False  # after its parts
    url: str = ""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def running(node: FakeNode) -> Iterator[FakeNode]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            node.asked.append((self.path, dict(self.headers.items()), body))
            self.send_response(node.status)
            self.end_headers()
            try:
                for part in node.parts:
                    self.wfile.write(part)
                    self.wfile.flush()
                if node.hangs:
                    node.released.wait(30)
            except OSError:
                pass  # the console hung up

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    node.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield node
    finally:
        node.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
