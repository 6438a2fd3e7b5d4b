"""`GET /healthz?nonce=…`, which proves to a validator that this endpoint has the node's private key."""

import errno
import json
import re
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import __version__
from .exits import CannotRun, ExitCode
from .key_change import CurrentKey
from .wire.signing import sign_health

IDLE_TIMEOUT_SECONDS = 5.0
MOST_CONNECTIONS = 64
# the kernel has no IPv6, or it is disabled
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
_NONCE = re.compile(r"[0-9a-fA-F]{32}")


class HealthServer:
    """Serves the health endpoint in its own threads from `start` to `close`.

    Raises CannotRun if the address is taken or does not belong to this machine.
    """

    def __init__(self, host: str, port: int, node_id: str, key: CurrentKey) -> None:
        try:
            self._server = _serving(host, port)
        except OSError as error:
            raise CannotRun(
                f"listen: {host}:{port} cannot be used: {error.strerror or error}.", ExitCode.TRY_LATER
            ) from error
        self._server.node_id = node_id
        self._server.key = key
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="health", daemon=True
        )

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and release the address."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _serving(host: str, port: int) -> "_HealthServer":
    """A bound server. `::` also answers IPv4. On a machine without IPv6 it answers only IPv4."""
    if ":" not in host:
        return _HealthServer((host, port), _HealthHandler)
    try:
        return _IPv6Server((host, port), _HealthHandler)
    except OSError as error:
        if host == "::" and error.errno in _NO_IPV6:
            return _HealthServer(("0.0.0.0", port), _HealthHandler)  # noqa: S104 - `::` asks for it
        raise


class _HealthServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MOST_CONNECTIONS
    node_id: str
    key: CurrentKey

    def __init__(self, *args: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Close the connection if all slots are in use, because the node's own work takes precedence."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Does not log callers that close the connection."""


class _IPv6Server(_HealthServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Make `::` include IPv4. The default differs between systems."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _HealthHandler(BaseHTTPRequestHandler):
    # an answer is written in two parts, and Nagle's algorithm would add 40 ms to what validators measure
    disable_nagle_algorithm = True
    server: _HealthServer
    server_version = f"jatevo-agent/{__version__}"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # the default, 0.9, has no status line
    timeout = IDLE_TIMEOUT_SECONDS

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path != "/healthz":
            self._error(HTTPStatus.NOT_FOUND, "not_found", "there is only /healthz here")
            return
        nonces = parse_qs(url.query, keep_blank_values=True).get("nonce", [])
        if len(nonces) != 1 or not _NONCE.fullmatch(nonces[0]):
            self._error(HTTPStatus.BAD_REQUEST, "invalid_request", "nonce must be 32 hex digits")
            return
        node_id, nonce = self.server.node_id, nonces[0]
        signature = sign_health(node_id, nonce, self.server.key.signing_key)
        self._answer(HTTPStatus.OK, {"node_id": node_id, "nonce": nonce, "signature": signature})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors from the base class (a bad request line, other methods), as JSON."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:  # http.server's answer to an unknown method
            self._error(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "only GET is served here")
        else:
            self._error(HTTPStatus(code), "invalid_request", message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing, because probes come every few seconds and anyone can send requests."""

    def _error(self, status: HTTPStatus, kind: str, message: str) -> None:
        self._answer(status, {"error": {"type": kind, "message": message}})

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
