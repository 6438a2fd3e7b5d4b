"""Ships facts from the outbox to ClickHouse: claim, write, delete.

Claiming gives rows a batch id and commits before anything is written. A batch that was interrupted is written
again with the same id and rows, which ClickHouse deduplicates. Rows are selected by being unclaimed and not
by "id greater than the last", because ids commit out of order.

The transaction that clears a batch also notes the hours that it changed (`ChangedHour`). ClickHouse has the
facts by then, so a new sum over a noted hour includes them.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import structlog
from django.db import connection, transaction

from jatevo.metrics.facts import BadBody, Fact, LatencyFact, ReceiptFact, UptimeFact, parse, traceparent_of
from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.sources import recorded_facts
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import QueryRefused, Transport
from jatevo.metrics.writer import WriteResult, write
from jatevo.telemetry import tracing

DEFAULT_LIMIT = 5000
_MOST_TRACED = 128  # rows of a batch, which is also how many links a span may have
_MOST_LOGGED = 10  # of a batch's poisoned rows; the table has all of them

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Shipped:
    """The result of one ship(): facts written by kind, and rows set aside as poisoned."""

    receipts: int = 0
    latencies: int = 0
    uptimes: int = 0
    poisoned: int = 0

    @property
    def rows(self) -> int:
        """The number of outbox rows that were handled."""
        return self.receipts + self.latencies + self.uptimes + self.poisoned

    def __add__(self, other: "Shipped") -> "Shipped":
        return Shipped(
            self.receipts + other.receipts,
            self.latencies + other.latencies,
            self.uptimes + other.uptimes,
            self.poisoned + other.poisoned,
        )


def ship(*, at: datetime, limit: int = DEFAULT_LIMIT, store: Transport | None = None) -> Shipped:
    """Ships batches that were left behind, then claims and ships up to `limit` new rows.

    Any number of processes may call it at once. Must not be called inside a transaction. Raises
    MetricsUnavailable if ClickHouse does not answer. If it refuses a whole batch, ships the other batches and
    then raises QueryRefused. Rows that were not shipped stay for the next call.
    """
    store = store or get_store()
    shipped = Shipped()
    refusal: QueryRefused | None = None
    for batch in _batches(limit, at):
        try:
            shipped += _ship_batch(store, batch)
        except QueryRefused as error:
            if refusal is not None:
                log.error("ClickHouse refuses a batch", error=str(refusal))
            refusal = error
    if refusal is not None:
        raise refusal
    return shipped


def _batches(limit: int, at: datetime) -> Iterator[uuid.UUID]:
    yield from _left_behind()
    claimed = _claim(limit, at)
    if claimed is not None:
        yield claimed


def _left_behind() -> list[uuid.UUID]:
    """Claimed but unfinished batches, oldest first, including those that another shipper is writing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT batch FROM metrics_outbox WHERE batch IS NOT NULL AND poisoned IS NULL"
            " GROUP BY batch ORDER BY min(claimed_at)"
        )
        return [batch for (batch,) in cursor]


def _claim(limit: int, at: datetime) -> uuid.UUID | None:
    """Makes a batch of up to `limit` unclaimed rows and commits it. Returns None if there are none."""
    batch = uuid.uuid4()
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(
            # Materialised, so that the subquery with its lock and limit runs only once.
            "WITH picked AS MATERIALIZED ("
            " SELECT id FROM metrics_outbox WHERE batch IS NULL AND poisoned IS NULL"
            " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)"
            " UPDATE metrics_outbox SET batch = %s, claimed_at = %s FROM picked"
            " WHERE metrics_outbox.id = picked.id",
            [limit, batch, at],
        )
        return batch if cursor.rowcount else None


def _ship_batch(store: Transport, batch: uuid.UUID) -> Shipped:
    """Writes and deletes one batch, unless another shipper is writing it or has finished it."""
    with _locked(batch) as is_ours:
        if not is_ours:
            return Shipped()
        facts, bad, callers = _read(batch)
        written = _write(store, batch, facts, callers)
        _note_hours(fact for id, fact in facts if id not in written.refused)
        _note_gap(written.unsearchable)
        _finish(batch, bad | written.refused)
        return _counts(written, poisoned=len(bad))


@contextmanager
def _locked(batch: uuid.UUID) -> Iterator[bool]:
    """A transaction with a lock on the batch. Yields False if another shipper holds the lock.

    PostgreSQL releases the lock when the transaction ends, even if the process dies.
    """
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        key = int.from_bytes(batch.bytes[:8], "big", signed=True)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
        ((is_ours,),) = cursor.fetchall()
        yield is_ours


def _write(
    store: Transport,
    batch: uuid.UUID,
    facts: Sequence[tuple[int, Fact]],
    callers: Mapping[int, tracing.Caller],
) -> WriteResult:
    """Writes the facts. The traces of those whose requests were recorded go on: each gets a span of its own."""
    began_ns = time.time_ns()
    attributes: tracing.Attributes = {"jatevo.batch": str(batch), "jatevo.facts": len(facts)}
    with tracing.continued("ship outbox", list(callers.values()), attributes) as span:
        written = write(store, batch, facts)
    if span is not None:
        for id, fact in facts:
            if id in callers and id not in written.refused:
                tracing.follow("outbox to ClickHouse", callers[id], span, _names(fact), began_ns=began_ns)
    return written


def _names(fact: Fact) -> dict[str, str]:
    names = {"jatevo.node_id": fact.node_id}
    return names | {"jatevo.receipt": fact.request_id} if isinstance(fact, ReceiptFact) else names


def _read(
    batch: uuid.UUID,
) -> tuple[list[tuple[int, Fact]], dict[int, str], dict[int, tracing.Caller]]:
    """The batch's facts in the order of their ids, the reasons for rows without a valid one, and the spans of requests
    that are recorded.
    """
    facts: list[tuple[int, Fact]] = []
    bad: dict[int, str] = {}
    callers: dict[int, tracing.Caller] = {}
    recorded: dict[str, Mapping[int, Fact]] = {}  # by kind
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, kind, source_id, body::text FROM metrics_outbox"
            " WHERE batch = %s AND poisoned IS NULL ORDER BY id",
            [batch],
        )
        rows = cursor.fetchall()
    for id, kind, source_id, body in rows:
        try:
            decoded = orjson.loads(body)
            if source_id is None:
                fact: Fact | None = parse(kind, decoded)
            else:
                if kind not in recorded:
                    recorded[kind] = recorded_facts(kind, batch)
                fact = recorded[kind].get(id)
        except (BadBody, orjson.JSONDecodeError) as error:
            bad[id] = str(error)
            continue
        if fact is None:
            bad[id] = f"no {kind} {source_id} is on record"
            continue
        facts.append((id, fact))
        if tracing.is_on() and len(callers) < _MOST_TRACED:
            caller = tracing.caller_of(traceparent_of(decoded))
            if caller is not None:
                callers[id] = caller
    return facts, bad, callers


def _note_hours(facts: Iterable[Fact]) -> None:
    """Notes the hours of the facts. An hour that is already noted gets the new time."""
    hours = sorted({_unix_seconds(fact) // 3600 for fact in facts})
    with connection.cursor() as cursor:
        cursor.execute(
            # In order, so that two shippers never wait for each other. The clock is read now and not at the
            # start of the transaction, so that earlier readers of the row see that it has changed.
            "INSERT INTO metrics_changedhour (hour, noted_at)"
            " SELECT hour, clock_timestamp() FROM unnest(%s::timestamptz[]) AS hour ORDER BY hour"
            " ON CONFLICT (hour) DO UPDATE SET noted_at = excluded.noted_at",
            [[datetime.fromtimestamp(hour * 3600, UTC) for hour in hours]],
        )


def _note_gap(facts: Sequence[ReceiptFact]) -> None:
    """Notes the range of receipts that the search lacks, because a fact did not say enough or was refused."""
    if facts:
        times = [datetime.fromtimestamp(fact.accepted_at, UTC) for fact in facts]
        ReceiptGap.objects.create(first_at=min(times), until_at=max(times) + timedelta(seconds=1))


def _unix_seconds(fact: Fact) -> int:
    """The time at which a fact counts, in unix seconds."""
    match fact:
        case ReceiptFact():
            return fact.ts_end
        case LatencyFact():
            return fact.ts
        case UptimeFact():
            return fact.minute


def _finish(batch: uuid.UUID, poisoned: dict[int, str]) -> None:
    """Sets the poisoned rows aside with their reasons and deletes the rest."""
    with connection.cursor() as cursor:
        if poisoned:
            for id, reason in sorted(poisoned.items())[:_MOST_LOGGED]:
                log.error("outbox row set aside", outbox_id=id, reason=reason, of=len(poisoned))
            # Out of the batch: if they are given back one day, they must not take its place in ClickHouse.
            cursor.executemany(
                "UPDATE metrics_outbox SET poisoned = %s, batch = NULL, claimed_at = NULL WHERE id = %s",
                [(reason, id) for id, reason in poisoned.items()],
            )
        cursor.execute("DELETE FROM metrics_outbox WHERE batch = %s AND poisoned IS NULL", [batch])


def _counts(written: WriteResult, *, poisoned: int) -> Shipped:
    return Shipped(written.receipts, written.latencies, written.uptimes, poisoned + len(written.refused))
