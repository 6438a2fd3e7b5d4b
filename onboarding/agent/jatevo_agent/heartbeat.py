"""Sends heartbeats with the machine's figures, and reads the node's status from the answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import logs
from .backoff import Backoff
from .clock import ConsoleClock
from .console import Answer, ConsoleClient, Unreachable

TOKEN_REFUSED_PAUSE_SECONDS = 60.0
SHORTEST_INTERVAL_SECONDS = 1.0
LONGEST_INTERVAL_SECONDS = 300.0

# The statement is repeated, so that changes without a restart are reported too.
TELL_EVERY_SECONDS = 3600.0

Note = Callable[[Mapping[str, Any]], None]


class Heartbeat:
    """Sends heartbeats. Call `run` in a thread.

    `statement` returns what the node states about itself, as at registration (`agent_version`, `attest`,
    `concurrency`). It is part of heartbeats until one is accepted, and then of one each hour. `last_ts` is
    the last one of the agent's previous run, so that `ts` also increases across restarts. `note` gets the
    console's answers, for `jatevo-agent status`. `token_refused` is called after each heartbeat whose token
    the console did not accept. `on_challenge` gets the challenges that come with the answers, and must not
    block.
    """

    def __init__(
        self,
        *,
        node_id: str,
        node_token: str,
        models: Callable[[], Sequence[str]],
        endpoint: str,
        metrics: Callable[[], Mapping[str, Any]],
        statement: Callable[[], Mapping[str, Any]],
        console: ConsoleClient,
        clock: ConsoleClock,
        stopping: threading.Event,
        note: Note,
        interval_seconds: float,
        last_ts: float = 0.0,
        token_refused: Callable[[], object] = lambda: None,
        on_challenge: Callable[[object], None] | None = None,
    ) -> None:
        self._node_id = node_id
        self._node_token = node_token
        self._models = models
        self._endpoint = endpoint
        self._metrics = metrics
        self._statement = statement
        self._tell_at = 0.0
        self._console = console
        self._clock = clock
        self._stopping = stopping
        self._note = note
        self._token_refused = token_refused
        self._last_ts = last_ts
        self._on_challenge = on_challenge
        self._said: dict[str, Any] = {}
        self._node_status = ""
        self._ignored: object = None
        self._backoff = Backoff(first_seconds=1.0, longest_seconds=10.0)
        self.interval_seconds = interval_seconds

    def run(self) -> None:
        """Send heartbeats until `stopping` is set."""
        while not self._stopping.is_set():
            self._stopping.wait(self.beat())

    def beat(self) -> float:
        """Send one heartbeat and return the seconds until the next."""
        began = time.monotonic()
        document = self._said = self._document()
        if began >= self._tell_at:
            document.update(self._statement())
        try:
            answer = self._console.heartbeat(self._node_token, json.dumps(document).encode())
        except Unreachable as error:
            return self._failed("no heartbeat: the console cannot be reached", str(error))
        if answer.status == 200:
            if began >= self._tell_at:
                self._tell_at = began + TELL_EVERY_SECONDS
            self._accepted(answer)
            return max(0.0, began + self.interval_seconds - time.monotonic())
        return self._refused(answer)

    def _document(self) -> dict[str, Any]:
        # The console only accepts a `ts` later than the last one, and this clock may have been set back.
        self._last_ts = round(max(self._clock.now(), self._last_ts + 0.001), 3)
        return {
            "node_id": self._node_id,
            "ts": self._last_ts,
            "metrics": dict(self._metrics()),
            "models": list(self._models()),
            "endpoint": self._endpoint,  # so that validators find a node whose address has changed
        }

    def _accepted(self, answer: Answer) -> None:
        self._clock.observe(answer.server_time)
        self._use_interval(answer.body.get("heartbeat_interval_s"))
        node_status = str(answer.body.get("status", ""))
        if node_status != self._node_status:
            logs.info("the console reports the node's status", status=node_status)
            self._node_status = node_status
        elif self._backoff.failures:
            logs.info("heartbeats are accepted again", status=node_status)
        self._backoff.succeeded()
        self._warn_of_ignored(answer.body.get("ignored"))
        if self._on_challenge is not None and answer.body.get("challenge") is not None:
            self._on_challenge(answer.body["challenge"])
        self._noted(answer, "accepted")

    def _refused(self, answer: Answer) -> float:
        self._noted(answer, answer.reason)
        if answer.error_type == "clock_skew" or answer.status == 409:
            # 409: this machine's clock, or its record of the last `ts`, is behind the console's.
            server_time = answer.server_time
            self._clock.observe(server_time)
            if server_time is not None:
                self._last_ts = max(self._last_ts, server_time) if answer.status == 409 else server_time
            first_time = self._backoff.failures == 0
            delay = self._failed("the console rejected this heartbeat's time", answer.reason)
            return 0.0 if first_time and server_time is not None else delay
        if answer.may_pass:
            return self._failed(
                "no heartbeat: the console is busy", answer.reason, answer.retry_after_seconds
            )
        if answer.status in {401, 403}:
            self._failed(
                "the console does not accept this node's token: get a new one there and put it into"
                " agent.yaml as node_token; receipts are kept meanwhile",
                answer.reason,
            )
            self._token_refused()
            return TOKEN_REFUSED_PAUSE_SECONDS
        self._failed("the console refused a heartbeat", answer.reason)
        return self.interval_seconds

    def _failed(self, event: str, reason: str, retry_after_seconds: float | None = None) -> float:
        delay = self._backoff.failed(retry_after_seconds)
        if self._backoff.failures == 1:
            logs.warning(event, reason=reason)
        return delay

    def _use_interval(self, seconds: object) -> None:
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
            self.interval_seconds = min(
                LONGEST_INTERVAL_SECONDS, max(SHORTEST_INTERVAL_SECONDS, float(seconds))
            )

    def _warn_of_ignored(self, ignored: object) -> None:
        """Log once which parts of accepted heartbeats the console ignored."""
        if isinstance(ignored, list) and ignored and ignored != self._ignored:
            logs.warning("the console ignored a part of the heartbeat", ignored=ignored)
        self._ignored = ignored

    def _noted(self, answer: Answer, outcome: str) -> None:
        self._note(
            {
                "at": self._clock.now(),
                "ts": self._last_ts,
                "http_status": answer.status,
                "outcome": outcome,
                "node_status": answer.body.get("status"),
                "interval_seconds": self.interval_seconds,
                "models": self._said["models"],
                "runtime_up": self._said["metrics"].get("runtime_up"),
            }
        )
