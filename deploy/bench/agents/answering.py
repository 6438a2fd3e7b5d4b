"""The health endpoints of all simulated agents on one port: `/<node id>/healthz?nonce=…`."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from jatevo_agent.wire.signing import sign_health
from nacl.signing import SigningKey


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    keys: Mapping[str, SigningKey]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        node_id = url.path.strip("/").partition("/")[0]
        nonce = parse_qs(url.query).get("nonce", [""])[0]
        key = self.server.keys.get(node_id)
        if key is None:
            self.send_error(404)
            return
        body = json.dumps(
            {"node_id": node_id, "nonce": nonce, "signature": sign_health(node_id, nonce, key)}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


@contextmanager
def health_endpoints(keys: Mapping[str, SigningKey]) -> Iterator[str]:
    """Answers validators for all nodes of `keys`, also those added later. Yields the base URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.keys = keys
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
