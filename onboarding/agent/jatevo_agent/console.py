"""The agent's client for the console's HTTP API, without retries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import __version__
from .clock import ConsoleClock, parse_server_time
from .wire.endpoints import is_loopback
from .wire.webhook import new_message_id, secret_of, sign_request

CONNECT_TIMEOUT_SECONDS = 5.0
ANSWER_TIMEOUT_SECONDS = 10.0


class Unreachable(Exception):
    """No answer came. The console may or may not have processed the request."""


@dataclass(frozen=True)
class Answer:
    """An answer of the console: its status and, if it is a JSON object, its body."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    retry_after_seconds: float | None = None

    @property
    def error(self) -> Mapping[str, Any]:
        """The `error` member of an error answer, or an empty mapping."""
        error = self.body.get("error")
        return error if isinstance(error, dict) else {}

    @property
    def error_type(self) -> str:
        """The error's `type`, or an empty string."""
        return str(self.error.get("type", ""))

    @property
    def reason(self) -> str:
        """The error in one line for a person, with details about fields."""
        message = str(self.error.get("message") or f"HTTP status {self.status}")
        return "; ".join([message, *_details(self.error.get("details"))])

    @property
    def server_time(self) -> float | None:
        """The console's time in unix seconds, if the answer or its error states it."""
        return parse_server_time(self.body.get("server_time", self.error.get("server_time")))

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: after a rate limit, a time-out or a server error."""
        return self.status in {408, 425, 429} or self.status >= 500


class ConsoleClient:
    """A client for one console and one node. Thread-safe. Close it after use."""

    def __init__(self, base_url: str, node_id: str, clock: ConsoleClock) -> None:
        self._node_id = node_id
        self._clock = clock
        self._http = httpx.Client(
            base_url=base_url,
            timeout=httpx.Timeout(ANSWER_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            headers={"User-Agent": f"jatevo-agent/{__version__}", "Accept": "application/json"},
            follow_redirects=False,
            # A proxy from the environment must not be used for a console on this machine.
            trust_env=not is_loopback(urlsplit(base_url).hostname or ""),
        )

    def register(self, enrollment_token: str, body: bytes) -> Answer:
        """`POST /v1/nodes/register` with the enrolment token. Raises Unreachable."""
        return self._post("/v1/nodes/register", body, {"Authorization": f"Bearer {enrollment_token}"})

    def heartbeat(self, node_token: str, body: bytes) -> Answer:
        """`POST /v1/nodes/heartbeat`, signed. Raises Unreachable."""
        return self._post_signed("/v1/nodes/heartbeat", node_token, body)

    def receipts(self, node_token: str, body: bytes) -> Answer:
        """`POST /v1/receipts` with one receipt or a batch, signed. Raises Unreachable."""
        return self._post_signed("/v1/receipts", node_token, body)

    def add_key(self, node_token: str, body: bytes) -> Answer:
        """`POST /v1/nodes/{node_id}/keys`, signed. Raises Unreachable."""
        return self._post_signed(f"/v1/nodes/{self._node_id}/keys", node_token, body)

    def challenge(self, node_token: str, body: bytes) -> Answer:
        """`POST /v1/nodes/challenge`, signed. Raises Unreachable."""
        return self._post_signed("/v1/nodes/challenge", node_token, body)

    def node_self(self, node_token: str) -> Answer:
        """`GET /v1/nodes/self`, signed: how the console sees this node. Raises Unreachable."""
        return self._send("GET", "/v1/nodes/self", b"", self._signature(node_token, b""))

    def networks(self) -> Answer:
        """`GET /v1/networks`: from where validators and gateways connect. Raises Unreachable."""
        return self._send("GET", "/v1/networks", b"", {})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post_signed(self, path: str, node_token: str, body: bytes) -> Answer:
        return self._post(path, body, self._signature(node_token, body))

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        return self._send("POST", path, body, {"Content-Type": "application/json", **headers})

    def _signature(self, node_token: str, body: bytes) -> dict[str, str]:
        headers = sign_request(secret_of(node_token), new_message_id(), int(self._clock.now()), body)
        return {"X-Node-Id": self._node_id, **headers}

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            response = self._http.request(method, path, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            ) from error
        try:
            parsed = response.json()
        except ValueError:
            parsed = {}
        return Answer(
            status=response.status_code,
            body=parsed if isinstance(parsed, dict) else {},
            retry_after_seconds=_seconds_from_retry_after(response.headers.get("Retry-After")),
        )


def _seconds_from_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from whole seconds or an HTTP date (RFC 9110 §10.2.3). None if it is neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())


def _details(details: object) -> list[str]:
    if not isinstance(details, list):
        return []
    return [f"{item.get('field')}: {item.get('message')}" for item in details if isinstance(item, dict)]
