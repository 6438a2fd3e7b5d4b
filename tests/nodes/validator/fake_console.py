"""The two routes of a console that a validator uses, checked with the published Standard Webhooks library."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.nodes.validator.loopback_node import NODE_ID, PUBLIC_KEY

VALIDATOR_ID = "validator-1"
TOKEN = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def assignment(
    endpoint: str, *, status: str = "pending", due: tuple[str, ...] = ("health",)
) -> dict[str, object]:
    return {
        "node_id": NODE_ID,
        "endpoint": endpoint,
        "public_key": "ed25519:" + base64.b64encode(PUBLIC_KEY).decode(),
        "status": status,
        "due": list(due),
    }


class ConsoleRequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._authenticated(b"")

    def do_POST(self) -> None:
        self._authenticated(self.rfile.read(int(self.headers["Content-Length"])))

    def _authenticated(self, body: bytes) -> None:
        console = self.server
        assert isinstance(console, ConsoleForValidators)
        try:
            Webhook(TOKEN).verify(body, dict(self.headers.items()), json_parse=False)
        except WebhookVerificationError:
            return self._reply(401, {"error": {"type": "invalid_token", "message": ""}})
        assert self.headers["X-Validator-Id"] == VALIDATOR_ID
        with console.lock:
            console.message_ids[self.command].append(self.headers["webhook-id"])
            if console.troubles[self.command]:
                status, error_type, headers = console.troubles[self.command].pop(0)
                return self._reply(status, {"error": {"type": error_type, "message": ""}}, headers)
            if self.command == "GET":
                assert self.path == "/v1/validators/assignments"
                return self._reply(200, {"assignments": console.assignments, "poll_after_s": 0.01})
            assert self.path == "/v1/probes"
            assert self.headers["Content-Type"] == "application/json"
            console.probes.append(json.loads(body))
            console.heard.set()
            return self._reply(201, {})

    def _reply(self, status: int, answer: object, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


class ConsoleForValidators(ThreadingHTTPServer):
    """`troubles` are errors to answer first, by method, one per request: status, error type, headers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), ConsoleRequestHandler)
        self.lock = threading.Lock()
        self.heard = threading.Event()
        self.assignments: list[object] = []
        self.troubles: dict[str, list[tuple[int, str, dict[str, str]]]] = {"GET": [], "POST": []}
        self.message_ids: dict[str, list[str]] = {"GET": [], "POST": []}
        self.probes: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores validators that close the connection when they are stopped."""


@contextmanager
def console(port: int = 0) -> Iterator[ConsoleForValidators]:
    server = ConsoleForValidators(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
