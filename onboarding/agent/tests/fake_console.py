"""A small console for the agent's tests. It verifies HMAC and ed25519, and fails on request.

HMAC is checked with the published Standard Webhooks library, and receipts directly with PyNaCl and rfc8785,
so that the agent's code is not checked by itself.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Union

import rfc8785
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from standardwebhooks import Webhook

TOLERATED_SKEW_SECONDS = 300
TOLERATED_LEAD_SECONDS = 30  # of a heartbeat's ts
Headers = dict[str, str]


@dataclass
class FakeNode:
    node_id: str
    public_key: bytes
    node_token: str
    registration: dict[str, Any]
    former_keys: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Reply:
    status: int
    document: dict[str, Any]
    headers: Headers = field(default_factory=dict)


class LoseAnswer:
    """Used instead of a Reply: process the request, then close the connection without an answer."""


Script = Union[Reply, LoseAnswer]


def error(status: int, kind: str, message: str = "", /, **extra: Any) -> Reply:
    headers = {"Retry-After": str(extra.pop("retry_after"))} if "retry_after" in extra else {}
    return Reply(status, {"error": {"type": kind, "message": message or kind, **extra}}, headers)


class ConsoleForAgents:
    """A context manager. `stop` and a later `start` on the same port simulate an outage."""

    def __init__(self) -> None:
        self.enrollment_tokens: set[str] = set()
        self.nodes: dict[str, FakeNode] = {}
        self.heartbeats: list[dict[str, Any]] = []
        self.receipts: dict[tuple[str, str], bytes] = {}
        self.inserts: list[str] = []
        self.duplicates: list[str] = []
        self.posts: list[tuple[str, float, bytes]] = []
        self.refused_signatures: list[str] = []
        self.clock_offset_seconds = 0.0
        self.heartbeat_interval_seconds = 1.0
        self.node_status = "pending"
        self.self_view: dict[str, Any] = {}
        self.challenge: dict[str, Any] | None = None
        """Goes with the answer to the next heartbeat."""
        self.challenge_answers: list[dict[str, Any]] = []
        self.newest_agent: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.judge: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda receipt: None
        self.refuse_body: Callable[[bytes], Reply | None] = lambda body: None
        self.before_work: Callable[[str], object] = lambda path: None
        self.networks: dict[str, Any] | None = None
        self._scripts: dict[str, list[Script]] = {}
        self._message_ids: set[str] = set()
        self._changed = threading.Condition(threading.RLock())
        self._server: _ConsoleServer | None = None
        self._port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def __enter__(self) -> ConsoleForAgents:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._server = _ConsoleServer(self.address, _ConsoleHandler)
        self._server.console = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def enroll(self) -> str:
        token = "jve_" + secrets.token_urlsafe(24)
        self.enrollment_tokens.add(token)
        return token

    def add_node(self, node_id: str, public_key: bytes) -> str:
        """Register a node without HTTP; returns its token."""
        token = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.nodes[node_id] = FakeNode(node_id, public_key, token, {})
        return token

    def next(self, path: str, *scripts: Script) -> None:
        """Give these answers to the next requests to `path` (`register`, `heartbeat`, `receipts`)."""
        with self._changed:
            self._scripts.setdefault(path, []).extend(scripts)

    def wait_for(self, condition: Callable[[], object], timeout_seconds: float = 30.0) -> None:
        """Wait until a request makes `condition` true."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(condition()), timeout_seconds), (
                f"not within {timeout_seconds} s: {len(self.heartbeats)} heartbeats,"
                f" {len(self.receipts)} receipts, {len(self.posts)} posts"
            )

    def wait_for_more_receipts(self, count: int) -> None:
        """Wait until this many more receipts are stored than now."""
        enough = len(self.inserts) + count
        self.wait_for(lambda: len(self.inserts) >= enough)

    def wait_for_receipt(self, request_id: str, timeout_seconds: float) -> None:
        """Wait until that receipt is stored."""
        self.wait_for(lambda: request_id in self.inserts, timeout_seconds)

    def bodies(self, path: str) -> list[bytes]:
        with self._changed:
            return [body for posted, _, body in self.posts if posted == path]

    def now(self) -> float:
        return time.time() + self.clock_offset_seconds

    def server_time(self) -> str:
        return datetime.fromtimestamp(self.now(), timezone.utc).isoformat().replace("+00:00", "Z")

    def handle(self, path: str, headers: Headers, body: bytes) -> Reply | None:
        """Answer one request. None closes the connection."""
        with self._changed:
            self.posts.append((path, time.monotonic(), body))
            self.before_work(path)
            scripts = self._scripts.get(path) or []
            script = scripts.pop(0) if scripts else None
            reply = script if isinstance(script, Reply) else self._work(path, headers, body)
            self._changed.notify_all()
            return None if isinstance(script, LoseAnswer) else reply

    def _work(self, path: str, headers: Headers, body: bytes) -> Reply:
        if path == "register":
            return self._register(headers, body)
        node = self.nodes.get(headers.get("x-node-id", ""))
        refusal = self._authenticate(node, headers, body)
        if refusal:
            return refusal
        assert node is not None
        refusal = self.refuse_body(body)
        if refusal:
            return refusal
        document = json.loads(body or b"null")
        if path == "self":
            return Reply(200, {"node_id": node.node_id, "status": self.node_status, **self.self_view})
        if path == "heartbeat":
            return self._heartbeat(node, document)
        if path == "challenge":
            return self._challenge(node, document)
        if path == "keys":
            return self._add_key(node, document)
        if "receipts" in document:
            texts = split_batch(body)
            assert 1 <= len(texts) <= 500
            results = [self._receipt(node, text) for text in texts]
            return Reply(200, {"results": results})
        result = self._receipt(node, body)
        if "error" in result:
            return Reply(result["status"], {"error": result["error"]})
        return Reply(
            result["status"],
            {
                "request_id": result["request_id"],
                "node_id": node.node_id,
                "verified": True,
                "duplicate": result["status"] == 200,
            },
        )

    def _register(self, headers: Headers, body: bytes) -> Reply:
        document = json.loads(body)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if document["node_id"] in self.nodes:
            return error(409, "node_exists", "this node_id is taken")
        if token not in self.enrollment_tokens:
            return error(401, "invalid_token", "the enrolment token is not valid")
        self.enrollment_tokens.discard(token)
        public_key = base64.b64decode(document["public_key"].removeprefix("ed25519:"), validate=True)
        node_token = self.add_node(document["node_id"], public_key)
        self.nodes[document["node_id"]].registration = document
        return Reply(
            201,
            {
                "node_id": document["node_id"],
                "status": "pending",
                "node_token": node_token,
                "heartbeat_interval_s": self.heartbeat_interval_seconds,
                "server_time": self.server_time(),
            },
        )

    def _authenticate(self, node: FakeNode | None, headers: Headers, body: bytes) -> Reply | None:
        if node is None:
            return error(401, "invalid_token", "no such node")
        message_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        expected = Webhook(node.node_token).sign(
            message_id, datetime.fromtimestamp(timestamp, timezone.utc), body.decode()
        )
        if headers["webhook-signature"] != expected:
            return error(401, "invalid_token", "the HMAC does not verify")
        if abs(timestamp - self.now()) > TOLERATED_SKEW_SECONDS:
            return error(401, "clock_skew", "the timestamp is off", server_time=self.server_time())
        if message_id in self._message_ids:
            return error(409, "replayed_request")
        self._message_ids.add(message_id)
        return None

    def _heartbeat(self, node: FakeNode, document: dict[str, Any]) -> Reply:
        assert document["node_id"] == node.node_id
        if document["ts"] > self.now() + TOLERATED_LEAD_SECONDS:
            return error(401, "clock_skew", "ts is ahead", server_time=self.server_time())
        if self.heartbeats and document["ts"] <= self.heartbeats[-1]["ts"]:
            return error(409, "replayed_request", "ts is not later", server_time=self.server_time())
        self.heartbeats.append(document)
        answer = {
            "status": self.node_status,
            "server_time": self.server_time(),
            "heartbeat_interval_s": self.heartbeat_interval_seconds,
        }
        if self.challenge is not None:
            answer["challenge"] = self.challenge
            self.challenge = None
        return Reply(200, answer)

    def asks(self, seconds: float = 20.0, **members: Any) -> dict[str, Any]:
        """A challenge that goes with the answer to the next heartbeat."""
        expires = datetime.fromtimestamp(self.now() + seconds, timezone.utc)
        self.challenge = {
            "id": str(uuid.uuid4()),
            "nonce": secrets.token_hex(16),
            "expires_at": expires.isoformat().replace("+00:00", "Z"),
            **members,
        }
        return self.challenge

    def _challenge(self, node: FakeNode, document: dict[str, Any]) -> Reply:
        assert document["node_id"] == node.node_id
        if document["id"] in [each["id"] for each in self.challenge_answers]:
            return error(409, "replayed_request")
        self.challenge_answers.append(document)
        return Reply(200, {"id": document["id"], "status": "active", "passed": True, "answer_ms": 12.5})

    def _add_key(self, node: FakeNode, document: dict[str, Any]) -> Reply:
        text = document["public_key"]
        offered = base64.b64decode(text.removeprefix("ed25519:"), validate=True)
        if offered in (node.public_key, *node.former_keys):
            current = "ed25519:" + base64.b64encode(node.public_key).decode()
            return error(409, "key_exists", current_key=current)
        signature = base64.b64decode(document["signature"].removeprefix("ed25519:"), validate=True)
        try:
            VerifyKey(node.public_key).verify(f"jatevo-key:{node.node_id}:{text}".encode(), signature)
        except BadSignatureError:
            return error(422, "invalid_signature", "not the current key's")
        node.former_keys.append(node.public_key)
        node.public_key = offered
        return Reply(201, {"public_key": text})

    def _receipt(self, node: FakeNode, raw: bytes) -> dict[str, Any]:
        receipt = json.loads(raw)
        request_id = receipt["request_id"]
        assert receipt["node_id"] == node.node_id
        forced = self.judge(receipt)
        if forced:
            return {"request_id": request_id, **forced}
        signature = base64.b64decode(receipt.pop("signature").removeprefix("ed25519:"), validate=True)
        if not any(
            _verifies(key, rfc8785.dumps(receipt), signature) for key in (node.public_key, *node.former_keys)
        ):
            self.refused_signatures.append(request_id)
            return {
                "request_id": request_id,
                "status": 422,
                "error": {"type": "invalid_signature", "message": "receipt signature verification failed"},
            }
        known = self.receipts.get((node.node_id, request_id))
        if known is None:
            self.receipts[node.node_id, request_id] = raw
            self.inserts.append(request_id)
            return {"request_id": request_id, "status": 201}
        if known == raw:
            self.duplicates.append(request_id)
            return {"request_id": request_id, "status": 200}
        return {
            "request_id": request_id,
            "status": 409,
            "error": {"type": "receipt_conflict", "message": "other content"},
        }


def _verifies(public_key: bytes, statement: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public_key).verify(statement, signature)
    except BadSignatureError:
        return False
    return True


def split_batch(body: bytes) -> list[bytes]:
    """The exact bytes of each receipt in a batch (which here have no braces inside)."""
    inside = body.removeprefix(b'{"receipts":[').removesuffix(b"]}")
    texts = re.findall(rb"\{[^{}]*\}", inside)
    assert b",".join(texts) == inside
    return texts


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def most_within(times: Iterable[float], window_seconds: float) -> int:
    """The largest number of events in any window of this length."""
    ordered = sorted(times)
    return max(sum(1 for other in ordered if start <= other < start + window_seconds) for start in ordered)


class _ConsoleServer(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = False
    console: ConsoleForAgents

    def __init__(self, *args: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that are killed during a request."""


class _ConsoleHandler(BaseHTTPRequestHandler):
    server: _ConsoleServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        if self.path == "/v1/nodes/self":
            self._respond(b"")
        else:
            self._public()

    def _public(self) -> None:
        """Pages that need no signature."""
        console = self.server.console
        documents = {
            "/healthz": {"ok": True},
            "/install/agent.json": console.newest_agent,
            "/v1/networks": console.networks,
        }
        if self.path in console.files:
            payload = console.files[self.path]
        else:
            payload = json.dumps(documents.get(self.path) or {}).encode()
        self.send_response(200 if self.path in console.files or documents.get(self.path) else 404)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _respond(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.console.handle(self.path.rsplit("/", 1)[1], headers, body)
        if reply is None:
            self.close_connection = True
            return
        payload = json.dumps(reply.document).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""
