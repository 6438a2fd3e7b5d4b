"""ClickHouse anew from what PostgreSQL has: after a restore, or if ClickHouse was lost.

Tables of receipts are emptied and filled. Measurements (latencies, minutes) are added: PostgreSQL keeps them for days
only, so that emptying would lose what ClickHouse still has, and its tables absorb repeats.

No worker may run: requests are counted by batches, and one that it ships meanwhile could count twice. Web processes may
run. What they accept meanwhile waits in the outbox.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection, transaction
from msgspec.structs import replace

from jatevo.metrics.facts import Fact, LatencyFact, UptimeFact
from jatevo.metrics.partitions import empty
from jatevo.metrics.transport import Transport
from jatevo.metrics.writer import WriteResult, write
from receipts.facts import FACT_COLUMNS, fact_of
from receipts.search.filling import fill, rebuild

AT_ONCE: Final = 5000
# The views that feed requests_hour see inserts only, so that it is emptied too.
TABLES_OF_RECEIPTS: Final = ("receipt_facts", "requests_minute", "requests_hour")
ALIVE_SECONDS: Final = 30
FILL_SECONDS: Final = 5.0

_RECEIPTS = f"""
SELECT r.accepted_at, {FACT_COLUMNS}
FROM receipts_receipt r JOIN nodes_node n ON n.id = r.node_id
WHERE (r.accepted_at, r.id) > (%s, %s)
ORDER BY r.accepted_at, r.id LIMIT %s
"""  # noqa: S608 - constants
# The facts of these receipts that wait are not shipped again.
_CLEAR_OUTBOX = "DELETE FROM metrics_outbox WHERE kind = 'receipt' AND source_id = ANY(%s)"
# The same of earlier releases. As one statement with OR, PostgreSQL would compare each row with each receipt.
_CLEAR_BODIES = """
DELETE FROM metrics_outbox o USING unnest(%s::text[], %s::text[]) AS done (node_id, request_id)
WHERE o.kind = 'receipt' AND o.source_id IS NULL
  AND o.body ->> 'node_id' = done.node_id AND o.body ->> 'request_id' = done.request_id
"""
_LATENCIES = """
SELECT p.id, p.node_id, n.region, p.received_at, p.p50_ms, p.p95_ms, p.p99_ms, p.tps
FROM nodes_probe p JOIN nodes_node n ON n.id = p.node_id
WHERE p.ok AND p.p95_ms IS NOT NULL AND p.id > %s ORDER BY p.id LIMIT %s
"""
_MINUTES = """
SELECT node_id, minute, beats FROM nodes_heartbeatminute
WHERE beats > 0 AND (node_id, minute) > (%s, %s) ORDER BY node_id, minute LIMIT %s
"""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class WorkerRuns(Exception):
    """A worker has been alive within ALIVE_SECONDS."""


class Refused(Exception):
    """ClickHouse refused some rows. The message has the first reason."""


@dataclass(frozen=True)
class Progress:
    """So many rows of a kind are written, in this many batches."""

    kind: str
    rows: int
    batches: int


@dataclass(frozen=True)
class Totals:
    """Sums over all receipts that were accepted before a second."""

    receipts: int
    tokens_input: int
    tokens_output: int
    cache_hits: int
    failures: int


def rebuild_metrics(store: Transport, *, at: datetime, at_once: int = AT_ONCE) -> Iterator[Progress]:
    """Fills the tables, and yields after each batch. It may be interrupted and begun again.

    Raises WorkerRuns, Refused, MetricsUnavailable or QueryRefused.
    """
    refuse_worker()  # before anything is emptied
    for table in TABLES_OF_RECEIPTS:
        empty(store, table)
    yield from _in_batches(store, "receipts", _receipts, (_BEGINNING, 0), at_once)
    yield from _in_batches(store, "latencies", _latencies, (uuid.UUID(int=0),), at_once)
    yield from _in_batches(store, "heartbeat minutes", _minutes, ("", _BEGINNING), at_once)
    rebuild(at=at)
    filled, batches, left = 0, 0, True
    while left:
        done = fill(at=at, seconds=FILL_SECONDS, store=store)
        filled, batches, left = filled + done.receipts, batches + 1, done.left
        yield Progress("receipts for searches", filled, batches)


def refuse_worker() -> None:
    """Raises WorkerRuns unless all workers have stopped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM procrastinate_workers"
            " WHERE last_heartbeat > now() - make_interval(secs => %s))",
            [ALIVE_SECONDS],
        )
        ((alive,),) = cursor.fetchall()
    if alive:
        raise WorkerRuns


def in_postgresql(*, before: datetime) -> Totals:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(tokens_input), 0), coalesce(sum(tokens_output), 0),"
            " count(*) FILTER (WHERE cache_hit), count(*) FILTER (WHERE failed)"
            " FROM receipts_receipt WHERE accepted_at < %s",
            [before],
        )
        ((found),) = cursor.fetchall()
    return Totals(*map(int, found))


def in_clickhouse(store: Transport, *, before: datetime) -> Totals:
    (found,) = store.execute(
        "SELECT count(), sum(tokens_input), sum(tokens_output), sum(cache_hit), sum(failed)"
        " FROM receipt_facts FINAL WHERE accepted_at < {before} SETTINGS max_execution_time = 3600",
        {"before": before},
    )
    return Totals(*map(int, found))


def requests_counted(store: Transport) -> int:
    """The sum of the hours of requests, which have no time of acceptance."""
    ((found,),) = store.execute(
        "SELECT sum(count) FROM requests_hour FINAL SETTINGS max_execution_time = 3600"
    )
    return int(found)


# What is read after a position: the facts, and the last one's position.
_Reader = Callable[[Sequence[Any], int], tuple[list[Fact], Sequence[Any]]]


def _in_batches(
    store: Transport, kind: str, read: _Reader, after: Sequence[Any], at_once: int
) -> Iterator[Progress]:
    rows, batches = 0, 0
    while True:
        refuse_worker()  # one may have been started meanwhile
        with transaction.atomic():
            facts, after = read(after, at_once)
            written = write(store, uuid.uuid4(), list(enumerate(facts)))
        _accept(written)
        rows, batches = rows + len(facts), batches + 1
        yield Progress(kind, rows, batches)
        if len(facts) < at_once:
            return


def _accept(written: WriteResult) -> None:
    for reason in written.refused.values():
        raise Refused(reason)


def _receipts(after: Sequence[Any], limit: int) -> tuple[list[Fact], Sequence[Any]]:
    found = _rows(_RECEIPTS, [*after, limit])
    # The search is filled afterwards, with the verdicts that hold.
    facts: list[Fact] = [replace(fact_of(*columns), search=None) for _, *columns in found]
    with connection.cursor() as cursor:
        cursor.execute(_CLEAR_OUTBOX, [[row[1] for row in found]])
        cursor.execute(_CLEAR_BODIES, [[row[2] for row in found], [row[3] for row in found]])
    return facts, found[-1][:2] if found else after


def _latencies(after: Sequence[Any], limit: int) -> tuple[list[Fact], Sequence[Any]]:
    found = _rows(_LATENCIES, [*after, limit])
    facts: list[Fact] = [
        LatencyFact(
            probe_id=str(id),
            node_id=node_id,
            region=region,
            ts=int(at.timestamp()),
            p50=p50,
            p95=p95,
            p99=p99,
            tps=tps,
        )
        for id, node_id, region, at, p50, p95, p99, tps in found
    ]
    return facts, found[-1][:1] if found else after


def _minutes(after: Sequence[Any], limit: int) -> tuple[list[Fact], Sequence[Any]]:
    found = _rows(_MINUTES, [*after, limit])
    facts: list[Fact] = [
        UptimeFact(node_id=node_id, minute=int(minute.timestamp()), up=True, beats=beats)
        for node_id, minute, beats in found
    ]
    return facts, found[-1][:2] if found else after


def _rows(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
