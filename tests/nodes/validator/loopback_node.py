"""A node's health endpoint on loopback, which can be made to misbehave."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from nacl.signing import SigningKey

from nodes.validator.address import AddressPolicy
from nodes.validator.probe import Prober, Target

NODE_ID = "macbook-001"
SIGNING_KEY = SigningKey(bytes(range(32)))
PUBLIC_KEY = bytes(SIGNING_KEY.verify_key)


def signature(node_id: str, nonce: str, key: SigningKey = SIGNING_KEY) -> str:
    signed = key.sign(f"jatevo-health:{node_id}:{nonce}".encode()).signature
    return "ed25519:" + base64.b64encode(signed).decode()


def honest_answer(nonce: str) -> dict[str, object]:
    return {"node_id": NODE_ID, "nonce": nonce, "signature": signature(NODE_ID, nonce)}


class NodeRequestHandler(BaseHTTPRequestHandler):
    """Passes each request to the test's function, with its nonce."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body go out in two writes

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, LoopbackServer)
        server.seen.hosts.append(self.headers["Host"])
        server.seen.clients.append(self.client_address)
        server.seen.paths.append(self.path)
        server.respond(self, parse_qs(urlsplit(self.path).query).get("nonce", [""])[0])

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


Respond = Callable[[NodeRequestHandler, str], None]


@dataclass
class Seen:
    """What reached the server, in order."""

    hosts: list[str] = field(default_factory=list)
    clients: list[tuple[str, int]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class LoopbackServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), NodeRequestHandler)
        self.respond = respond
        self.seen = Seen()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that close the connection, as many tests do."""


def honest(handler: NodeRequestHandler, nonce: str) -> None:
    handler.reply(json.dumps(honest_answer(nonce)).encode())


@contextmanager
def serving(respond: Respond = honest) -> Iterator[LoopbackServer]:
    server = LoopbackServer(respond)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prober(timeout_seconds: float = 5.0) -> Prober:
    return Prober(AddressPolicy(allow_private=True), timeout_seconds=timeout_seconds)


def target(url: str, node_id: str = NODE_ID, public_key: bytes = PUBLIC_KEY) -> Target:
    return Target(node_id=node_id, endpoint=url, public_key=public_key)
