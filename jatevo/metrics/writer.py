"""Writes facts to ClickHouse. Writing a batch twice has the same effect as writing it once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from jatevo.metrics.bad_rows import write_around
from jatevo.metrics.facts import Fact, LatencyFact, ReceiptFact, UptimeFact
from jatevo.metrics.search_rows import row_of, write_search_rows
from jatevo.metrics.transport import QueryRefused, Transport

RECEIPT_COLUMNS = (
    "node_id",
    "request_id",
    "region",
    "model_id",
    "ts_start",
    "ts_end",
    "accepted_at",
    "tokens_input",
    "tokens_output",
    "p95_ms",
    "hedged",
    "cache_hit",
    "failed",
)
LATENCY_COLUMNS = ("probe_id", "node_id", "region", "ts", "p50", "p95", "p99", "tps")
UPTIME_COLUMNS = ("node_id", "ts", "up", "beats")
REQUESTS_COLUMNS = ("ts", "region", "batch", "count", "tokens_in", "tokens_out", "cache_hits", "errors")

_DAY_SECONDS = 86_400
# ClickHouse refuses an insert into more than 100 partitions (max_partitions_per_insert_block). No table has
# partitions shorter than a day. The limit is lower, because each partition takes the file system some time.
_MAX_DAYS_PER_INSERT = 20
# The largest UInt64. A receipt may state 2^53 - 1 tokens, so a batch of absurd receipts could exceed it.
_LARGEST = 2**64 - 1


@dataclass(frozen=True)
class WriteResult:
    """How many facts of each kind were written, and the reasons for the refused ones by outbox id.

    `unsearchable` are receipts that the search does not have: it must be filled with them from PostgreSQL.
    """

    receipts: int = 0
    latencies: int = 0
    uptimes: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    unsearchable: Sequence[ReceiptFact] = ()


class _FactRow(NamedTuple):
    """One row to insert. `unix_seconds` is the time that decides its partition."""

    outbox_id: int
    unix_seconds: int
    row: tuple[Any, ...]


def write(store: Transport, batch: UUID, facts: Sequence[tuple[int, Fact]]) -> WriteResult:
    """Writes one batch of `(outbox id, fact)`.

    Raises MetricsUnavailable or QueryRefused if all or part of it may be missing: write the same batch again.
    """
    receipts = {id: fact for id, fact in facts if isinstance(fact, ReceiptFact)}
    latencies = {id: fact for id, fact in facts if isinstance(fact, LatencyFact)}
    uptimes = {id: fact for id, fact in facts if isinstance(fact, UptimeFact)}

    refused = _insert(
        store,
        "receipt_facts",
        RECEIPT_COLUMNS,
        [_FactRow(id, fact.accepted_at, _receipt_row(fact)) for id, fact in receipts.items()],
    )
    kept = [fact for id, fact in receipts.items() if id not in refused]
    unsearchable = _write_search(store, list(receipts.values()))
    requests = _requests_lines(batch, kept)
    # A sum has no single fact that could be set aside if it is refused. All rows of an hour are inserted
    # together, because requests_hour keeps one row for them.
    for chunk in _chunks(requests):
        store.insert("requests_minute", REQUESTS_COLUMNS, [line.row for line in chunk])
    refused |= _insert(
        store,
        "node_latency_minute",
        LATENCY_COLUMNS,
        [_FactRow(id, fact.ts, _latency_row(fact)) for id, fact in latencies.items()],
    )
    refused |= _insert(
        store,
        "node_uptime_minute",
        UPTIME_COLUMNS,
        [_FactRow(id, fact.minute, _uptime_row(fact)) for id, fact in uptimes.items()],
    )
    return WriteResult(
        receipts=len(kept),
        latencies=len(latencies.keys() - refused.keys()),
        uptimes=len(uptimes.keys() - refused.keys()),
        refused=refused,
        unsearchable=unsearchable,
    )


def _write_search(store: Transport, facts: Sequence[ReceiptFact]) -> list[ReceiptFact]:
    """Writes the rows of the search. Returns the facts that it lacks."""
    rows = [(fact, row_of(fact)) for fact in facts]
    refused = write_around(
        [row for _, row in rows if row is not None],
        lambda some: write_search_rows(store, some),
        lambda error: isinstance(error, QueryRefused) and error.about_rows,
    )
    bad = {row.id for row, _ in refused}
    return [fact for fact, row in rows if row is None or row.id in bad]


def _receipt_row(fact: ReceiptFact) -> tuple[Any, ...]:
    return (
        fact.node_id,
        fact.request_id,
        fact.region,
        fact.model_id,
        fact.ts_start,
        fact.ts_end,
        fact.accepted_at,
        fact.tokens_input,
        fact.tokens_output,
        fact.p95_ms,
        int(fact.hedged),
        int(fact.cache_hit),
        int(fact.failed),
    )


def _latency_row(fact: LatencyFact) -> tuple[Any, ...]:
    return fact.probe_id, fact.node_id, fact.region, fact.ts, fact.p50, fact.p95, fact.p99, fact.tps


def _uptime_row(fact: UptimeFact) -> tuple[Any, ...]:
    return fact.node_id, _minute(fact.minute), int(fact.up), fact.beats


def _requests_lines(batch: UUID, receipts: Iterable[ReceiptFact]) -> list[_FactRow]:
    sums: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for fact in receipts:
        total = sums[_minute(fact.ts_end), fact.region]
        total[0] += 1
        total[1] += fact.tokens_input
        total[2] += fact.tokens_output
        total[3] += int(fact.cache_hit)
        total[4] += int(fact.failed)
    return [
        _FactRow(0, ts, (ts, region, str(batch), *(min(figure, _LARGEST) for figure in total)))
        for (ts, region), total in sums.items()
    ]


def _insert(store: Transport, table: str, columns: Sequence[str], lines: list[_FactRow]) -> dict[int, str]:
    """Inserts the lines, a limited number of partitions at a time. Returns the reasons for refused lines."""
    refused: dict[int, str] = {}
    for chunk in _chunks(lines):
        bad = write_around(
            chunk,
            lambda some: store.insert(table, columns, [line.row for line in some]),
            # good rows may be inserted twice, because the tables deduplicate them
            lambda error: isinstance(error, QueryRefused) and error.about_rows,
        )
        refused |= {line.outbox_id: f"{table}: {error}" for line, error in bad}
    return refused


def _chunks(lines: list[_FactRow]) -> Iterator[list[_FactRow]]:
    """The lines in groups of at most _MAX_DAYS_PER_INSERT whole days."""
    lines = sorted(lines, key=lambda line: line.unix_seconds)
    days: list[list[_FactRow]] = [list(day) for _, day in groupby(lines, _day)]
    for start in range(0, len(days), _MAX_DAYS_PER_INSERT):
        yield [line for day in days[start : start + _MAX_DAYS_PER_INSERT] for line in day]


def _minute(unix_seconds: int) -> int:
    return unix_seconds - unix_seconds % 60


def _day(line: _FactRow) -> int:
    return line.unix_seconds // _DAY_SECONDS
