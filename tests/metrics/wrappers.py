"""Transports that wrap a real one and fail on purpose, and facts to ship."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from jatevo.metrics.cluster import Cluster
from jatevo.metrics.facts import Fact, FactKind, LatencyFact, ReceiptFact, UptimeFact
from jatevo.metrics.transport import Cell, Param, Row, Transport
from jatevo.metrics.writer import write

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NOON_SECONDS = int(NOON.timestamp())
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Intercepted:
    """A transport that calls `before` before each insert and `after` after it."""

    def __init__(
        self,
        inner: Transport,
        *,
        before: Callable[[str, Sequence[Sequence[Cell]]], None] = lambda table, rows: None,
        after: Callable[[str, Sequence[Sequence[Cell]]], None] = lambda table, rows: None,
    ) -> None:
        self._inner = inner
        self._before = before
        self._after = after

    @property
    def cluster(self) -> Cluster | None:
        return self._inner.cluster

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        return self._inner.execute(sql, params)

    def execute_on_each(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        self._inner.execute_on_each(sql, params)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        self._before(table, rows)
        self._inner.insert(table, columns, rows)
        self._after(table, rows)

    def create_database(self) -> None:
        self._inner.create_database()

    def ping(self) -> None:
        self._inner.ping()

    def close(self) -> None:
        self._inner.close()


def receipt(request_id: str = "r_1", **changes: Any) -> ReceiptFact:
    return ReceiptFact(
        **{
            "node_id": "macbook-001",
            "request_id": request_id,
            "region": "ap-southeast",
            "model_id": "llama3.1-8b",
            "ts_start": NOON_SECONDS - 16,
            "ts_end": NOON_SECONDS,
            "accepted_at": NOON_SECONDS + 1,
            "tokens_input": 128,
            "tokens_output": 92,
            "p95_ms": 310,
            "hedged": False,
            "cache_hit": True,
            "failed": False,
            **changes,
        }
    )


def latency(probe_id: str = "p_1", **changes: Any) -> LatencyFact:
    return LatencyFact(
        **{
            "probe_id": probe_id,
            "node_id": "macbook-001",
            "region": "ap-southeast",
            "ts": NOON_SECONDS,
            "p50": 100.0,
            "p95": 200.5,
            "p99": None,
            "tps": 30.0,
            **changes,
        }
    )


def uptime(minute: datetime = NOON, **changes: Any) -> UptimeFact:
    values = {"node_id": "macbook-001", "minute": int(minute.timestamp()), "up": True, "beats": 6}
    return UptimeFact(**{**values, **changes})


def deliver(store: Transport, *facts: Fact, times: int = 2, batch: uuid.UUID | None = None) -> None:
    """Writes the facts as one batch, by default twice, because repeats are common."""
    batch = batch or uuid.uuid4()
    for _ in range(times):
        write(store, batch, list(enumerate(facts)))


def enqueue(*facts: Fact) -> None:
    """Writes facts as other apps do on the hot path: raw SQL, defaults from the database."""
    kinds = {ReceiptFact: FactKind.RECEIPT, LatencyFact: FactKind.LATENCY, UptimeFact: FactKind.UPTIME}
    for fact in facts:
        enqueue_body(kinds[type(fact)], fact.to_body())


def enqueue_body(kind: str, body: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO metrics_outbox (kind, body) VALUES (%s, %s)", [kind, json.dumps(body)])
