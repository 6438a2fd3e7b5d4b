"""The demo's gateway: hands simulated requests to the demo's nodes, and reports each one to the console first.

`python -m jatevo.local.demo_gateway` runs it until SIGTERM or SIGINT. It speaks HTTP only: with the console as
any gateway does, and on a loopback port with agents that run with `--router`.

    POST /requests {"node_id", "models"}     → 200 a request for that node, or 503 if there is none
    POST /answers {"node_id", "request_id"}  → 204
"""

import argparse
import json
import logging
import os
import random
import secrets
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

import httpx

from jatevo.wire.webhook import MalformedTokenError, new_message_id, secret_of, sign_request

log = logging.getLogger("demo_gateway")

LOOPBACK = "127.0.0.1"
ENVIRONMENT_VARIABLE = "JATEVO_GATEWAY_TOKEN"
USAGE_ERROR = 2
CONSOLE_TIMEOUT_SECONDS = 3.0
MOST_BODY_BYTES = 16 * 1024
HEDGED_SHARE = 0.08
HEDGE_WITHIN_SECONDS = 240.0  # how long a hedged request waits for its second node
MOST_OPEN_HEDGES = 1000

Report = Callable[[dict[str, Any]], bool]


@dataclass
class _Hedge:
    """A hedged request that waits for its second node or for its first answer."""

    request: dict[str, Any]
    nodes: set[str]
    begun_at: float


class Gateway:
    """Decides which request a node gets. `report` sends a statement to the console and says whether it was taken.

    Thread-safe. Times are unix seconds.
    """

    def __init__(self, report: Report, rng: random.Random | None = None) -> None:
        self._report = report
        self._rng = rng or random.SystemRandom()
        self._lock = threading.Lock()
        self._hedges: OrderedDict[str, _Hedge] = OrderedDict()

    def request_for(self, node_id: str, models: Sequence[str], *, at: float) -> dict[str, Any] | None:
        """A request for the node, after the console knows of it. None if it does not take the dispatch."""
        if not models:
            return None
        with self._lock:
            request = self._second_of_a_hedge(node_id, models, at) or self._fresh(node_id, models, at)
        dispatch = {**request, "node_id": node_id, "ts": round(at, 3)}
        return request if self._report(dispatch) else None

    def answered(self, node_id: str, request_id: str) -> None:
        """The first answer to a hedged request is the one that is used."""
        with self._lock:
            hedge = self._hedges.get(request_id)
            if hedge is None or node_id not in hedge.nodes:
                return
            del self._hedges[request_id]
        self._report({"request_id": request_id, "winner": node_id})

    def _second_of_a_hedge(self, node_id: str, models: Sequence[str], at: float) -> dict[str, Any] | None:
        for hedge in self._hedges.values():
            waits = len(hedge.nodes) == 1 and at - hedge.begun_at <= HEDGE_WITHIN_SECONDS
            if waits and node_id not in hedge.nodes and hedge.request["model_id"] in models:
                hedge.nodes.add(node_id)
                return hedge.request
        return None

    def _fresh(self, node_id: str, models: Sequence[str], at: float) -> dict[str, Any]:
        hedged = self._rng.random() < HEDGED_SHARE
        request_id = "r_" + secrets.token_urlsafe(16)
        request = {
            "request_id": request_id,
            "model_id": self._rng.choice(models),
            "tokens_input": max(8, min(8_000, round(self._rng.lognormvariate(5.3, 0.9)))),
            "max_tokens": self._rng.choice((256, 512, 1024, 4096)),
            "hedged": hedged,
        }
        if hedged:
            self._hedges[request_id] = _Hedge(request, {node_id}, at)
            while len(self._hedges) > MOST_OPEN_HEDGES:
                self._hedges.popitem(last=False)
        return request


class ConsoleReport:
    """Posts statements to the console's POST /v1/dispatches, signed by the gateway."""

    def __init__(self, url: str, gateway_id: str, token: str) -> None:
        self._gateway_id = gateway_id
        self._secret = secret_of(token)
        self._client = httpx.Client(
            base_url=url.rstrip("/"), trust_env=False, timeout=CONSOLE_TIMEOUT_SECONDS
        )

    def __call__(self, statement: dict[str, Any]) -> bool:
        body = json.dumps({"dispatches": [statement]}).encode()
        headers = sign_request(self._secret, new_message_id(), int(time.time()), body)
        headers |= {"X-Gateway-Id": self._gateway_id, "Content-Type": "application/json"}
        try:
            answer = self._client.post("/v1/dispatches", content=body, headers=headers)
            taken = answer.is_success and answer.json()["results"][0]["status"] in (200, 201)
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            log.warning("the console cannot be reached")
            return False
        if not taken:
            log.warning("the console did not take a dispatch: %s %s", answer.status_code, answer.text[:300])
        return bool(taken)


class GatewayServer(ThreadingHTTPServer):
    """Serves a gateway on loopback."""

    daemon_threads = True

    def __init__(self, port: int, gateway: Gateway) -> None:
        self.gateway = gateway
        super().__init__((LOOPBACK, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: GatewayServer
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        try:
            said = json.loads(self.rfile.read(length)) if 0 < length <= MOST_BODY_BYTES else None
        except ValueError:
            said = None
        match self.path, said:
            case "/requests", {"node_id": str(node_id), "models": list(models)}:
                names = [name for name in models if isinstance(name, str)]
                request = self.server.gateway.request_for(node_id, names, at=time.time())
                if request is None:
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE)
                else:
                    self._answer(HTTPStatus.OK, request)
            case "/answers", {"node_id": str(node_id), "request_id": str(request_id)}:
                self.server.gateway.answered(node_id, request_id)
                self._answer(HTTPStatus.NO_CONTENT)
            case _:
                self.close_connection = True
                self._answer(HTTPStatus.BAD_REQUEST)

    def _answer(self, status: HTTPStatus, value: dict[str, Any] | None = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        if body:
            self.send_header("Content-Type", "application/json")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the console's log has the dispatches."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and runs. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m jatevo.local.demo_gateway", description="The demo's gateway."
    )
    parser.add_argument("--console", required=True, metavar="URL")
    parser.add_argument("--gateway-id", required=True, metavar="ID", help="its id in the console's admin")
    parser.add_argument("--listen", required=True, type=int, metavar="PORT", help="on loopback, for agents")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        report = ConsoleReport(options.console, options.gateway_id, os.environ.get(ENVIRONMENT_VARIABLE, ""))
    except MalformedTokenError as error:
        sys.stderr.write(f"{ENVIRONMENT_VARIABLE}: {error}. The admin shows it when a gateway is made.\n")
        return USAGE_ERROR
    server = GatewayServer(options.listen, Gateway(report))

    def stop(number: int, frame: FrameType | None) -> None:
        # `shutdown` waits for the loop, which runs in this very thread
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
