"""A node that is registered at the fake console, with the agent's parts in this process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from fake_console import ConsoleForAgents
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.completion import Completion, receipt_bytes, unsigned_receipt
from jatevo_agent.console import ConsoleClient
from jatevo_agent.delivery import Delivery
from jatevo_agent.heartbeat import Heartbeat
from jatevo_agent.spool import Spool
from jatevo_agent.wire.signing import sign
from nacl.signing import SigningKey

NODE_ID = "gpu-7"


def completion(request_id: str, **changes: Any) -> Completion:
    values: dict[str, Any] = {
        "request_id": request_id,
        "model_id": "llama3.1-8b",
        "model_sha256": "a1" * 32,
        "prompt_blake3": "0f" * 32,
        "tokens_input": 128,
        "tokens_output": 92,
        "started_at": 1736538502.9,
        "ended_at": 1736538518.2,
        "p95_ms": 310,
        **changes,
    }
    return Completion(**values)


class RegisteredNode:
    """A registered node. Close it after use."""

    def __init__(self, console: ConsoleForAgents, folder: Path) -> None:
        self.signing_key = SigningKey.generate()
        self.token = console.add_node(NODE_ID, bytes(self.signing_key.verify_key))
        self.clock = ConsoleClock()
        self.stopping = threading.Event()
        self.http = ConsoleClient(console.url, NODE_ID, self.clock)
        self.spool_path = folder / "spool.sqlite"
        self.spool = Spool(self.spool_path)
        self.delivery = self.delivery_with(self.token)
        self.statement: dict[str, Any] = {"agent_version": "2.0.0", "concurrency": 4}
        self.noted: list[dict[str, Any]] = []

    def delivery_with(self, token: str) -> Delivery:
        return Delivery(self.spool, self.http, self.clock, token, self.stopping)

    def heartbeat(
        self,
        *,
        token: str | None = None,
        last_ts: float = 0.0,
        on_challenge: Callable[[object], None] | None = None,
    ) -> Heartbeat:
        return Heartbeat(
            node_id=NODE_ID,
            node_token=token or self.token,
            models=lambda: ["llama3.1-8b"],
            endpoint="http://127.0.0.1:11435",
            metrics=lambda: {"uptime": 1.5},
            statement=lambda: dict(self.statement),
            console=self.http,
            clock=self.clock,
            stopping=self.stopping,
            note=lambda answer: self.noted.append(dict(answer)),
            interval_seconds=10.0,
            last_ts=last_ts,
            on_challenge=on_challenge,
        )

    def spool_receipts(self, *request_ids: str, **changes: Any) -> list[bytes]:
        bodies = [self.receipt(request_id, **changes) for request_id in request_ids]
        for request_id, body in zip(request_ids, bodies):
            self.spool.add(request_id, body)
        return bodies

    def spool_at_once(self, *request_ids: str, **changes: Any) -> None:
        """Spools many receipts in one transaction of another connection, with only one fsync."""
        rows = [(request_id, self.receipt(request_id, **changes)) for request_id in request_ids]
        with closing(sqlite3.connect(self.spool_path)) as connection, connection:
            connection.executemany(
                "INSERT INTO spooled (request_id, body, spooled_at) VALUES (?, ?, 0)", rows
            )

    def receipt(self, request_id: str, **changes: Any) -> bytes:
        unsigned = unsigned_receipt(completion(request_id, **changes), node_id=NODE_ID, region="eu-west")
        return receipt_bytes(sign(unsigned, self.signing_key))

    def deliver(self) -> float:
        """Sends the next batch. Returns the seconds until the next post."""
        return self.delivery.deliver(self.delivery.next_batch())

    def close(self) -> None:
        self.stopping.set()
        self.delivery.wake()
        self.http.close()
        self.spool.close()
