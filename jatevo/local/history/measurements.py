"""Writes the invented nodes' minutes, probes and receipts to ClickHouse, several hours at a time.

Only the nodes and their silent hours are sent. The server derives everything else from hashes, so that it is
the same for the same seed, and hundreds of millions of rows do not pass through Python. Views fill the rollups.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from operator import attrgetter
from types import TracebackType

from jatevo.local.history.copying import moment
from jatevo.local.history.fleet import HOUR, WHOLE_HOUR
from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.transport import Cell, Param, Row, Transport

LATENCY_EVERY_MINUTES = 5
ACCEPTED_AFTER_SECONDS = 2  # constant, so that a window by end is also a window by acceptance
# but for what only the search needs; the worker fills that from PostgreSQL
_FACT_COLUMNS = tuple(name for name in ReceiptFact.__struct_fields__ if name != "search")
cells_of: Callable[[ReceiptFact], Row] = attrgetter(*_FACT_COLUMNS)
_ROWS_AT_ONCE = 2_000_000
_FACTS_AT_ONCE = 20_000
_PATIENCE = " SETTINGS max_execution_time = 3600"

_TABLES = (
    "CREATE TABLE load_members (node_id String, region String, model_id String, base_ms Float64) ENGINE = Memory",
    "CREATE TABLE load_gaps (node_id String, hour UInt32, silent UInt64) ENGINE = Memory",
)
# Each node's hours of a window, with the minutes in which it was silent.
_HOURS = (
    "(SELECT node_id, region, model_id, base_ms, hour, silent FROM"
    " (SELECT node_id, region, model_id, base_ms, arrayJoin(arrayMap(h -> toUInt32({since} + 3600 * h),"
    " range({hours}))) AS hour FROM load_members) AS each"
    " ANY LEFT JOIN (SELECT node_id, hour, silent FROM load_gaps WHERE hour >= {since} AND hour < {until}) AS gaps"
    " USING node_id, hour)"
)
_MINUTES = joined(
    "INSERT INTO node_uptime_minute (ts, node_id, up, beats)"
    " SELECT toDateTime(hour + 60 * minute), node_id, 1, 6"
    " FROM (SELECT node_id, hour, silent, arrayJoin(range(60)) AS minute FROM",
    _HOURS,
    ") WHERE bitAnd(bitShiftRight(silent, minute), 1) = 0",
)
_PROBES = joined(
    "INSERT INTO node_latency_minute (ts, node_id, region, probe_id, p50, p95, p99, tps)"
    " SELECT toDateTime(hour + 60 * minute + h % 60), node_id, region, lower(hex(h)),"
    " base_ms * strain * (0.85 + 0.3 * u) AS middle, middle * (1.5 + 0.9 * v) * if(w < 0.01, 4, 1) AS slow,"
    " slow * (1.1 + 0.6 * w), 9000 / middle"
    " FROM (SELECT node_id, region, base_ms, hour, minute,"
    " cityHash64(node_id, hour, minute, {seed}) AS h,"
    " (h % 1000) / 1000 AS u, (intDiv(h, 1000) % 1000) / 1000 AS v, (intDiv(h, 1000000) % 1000) / 1000 AS w,"
    " 1 + 0.2 * sin((hour % 86400) * 0.0000727) AS strain"
    " FROM (SELECT node_id, region, base_ms, hour, silent, arrayJoin(arrayMap("
    "n -> n * {every} + cityHash64(node_id) % {every}, range({times}))) AS minute FROM",
    _HOURS,
    ") WHERE bitAnd(bitShiftRight(silent, minute), 1) = 0)",
)
_RECEIPTS = joined(
    "INSERT INTO receipt_facts (node_id, request_id, region, model_id, ts_start, ts_end, accepted_at, tokens_input,"
    " tokens_output, p95_ms, hedged, cache_hit, failed)"
    " SELECT node_id, concat('r_', lower(hex(h)), lower(hex(cityHash64(h)))), region, model_id,"
    " toDateTime(hour + second - 1 - h % 20), toDateTime(hour + second), toDateTime(hour + second + {accepted_after}),"
    " 40 + h % 2960, if(h % 100 = 0, 0, 10 + h % 890), base_ms * (1.2 + 1.8 * (h % 1000) / 1000),"
    " h % 20 = 1, h % 5 = 2, h % 100 = 0"
    " FROM (SELECT node_id, region, model_id, base_ms, hour, cityHash64(node_id, hour, number, {seed}) AS h,"
    " intDiv(h, 1000) % 3600 AS second"
    " FROM (SELECT node_id, region, model_id, base_ms, hour, silent,"
    " arrayJoin(range(toUInt64(floor({per_hour} + (cityHash64(node_id, hour, {seed}) % 1000) / 1000)))) AS number"
    " FROM",
    _HOURS,
    ") WHERE silent != {whole_hour})",
)
# Like the shipper's batches, one per second. All rows of a batch are in one insert, as the rollup requires.
_BATCHES = (
    "INSERT INTO requests_minute (ts, region, batch, count, tokens_in, tokens_out, cache_hits, errors)"
    " SELECT minute, region, toUUID(concat(substring(name, 1, 8), '-', substring(name, 9, 4), '-',"
    " substring(name, 13, 4), '-', substring(name, 17, 4), '-', substring(name, 21, 12))),"
    " c, i, o, hits, failures"
    " FROM (SELECT toStartOfMinute(ts_end) AS minute, region, accepted_at,"
    " lower(hex(MD5(concat(toString(toUInt32(accepted_at)), {salt})))) AS name,"
    " count() AS c, sum(tokens_input) AS i, sum(tokens_output) AS o, sum(cache_hit) AS hits, sum(failed) AS failures"
    " FROM receipt_facts WHERE toDate(ts_end) >= toDate({day_before}, 'UTC') AND toDate(ts_end) <= toDate({end}, 'UTC')"
    " AND accepted_at >= {start} AND accepted_at < {end} GROUP BY minute, region, accepted_at)"
)


@dataclass(frozen=True)
class Measured:
    """What ClickHouse needs to know about a node. `base_ms` is its typical p50."""

    node_id: str
    region: str
    model_id: str
    base_ms: float


class Measurements:
    """Writes measurements. It is a context manager, because its two temporary tables must be dropped.

    Windows are whole hours in unix seconds. A gap is (node, hour, silent minutes as bits).
    """

    def __init__(
        self, store: Transport, nodes: Sequence[Measured], gaps: Iterable[tuple[str, int, int]], *, seed: int
    ) -> None:
        self._store = store
        self._nodes = sorted(nodes, key=lambda node: node.node_id)
        self._gaps = list(gaps)
        self._seed = seed

    def __enter__(self) -> "Measurements":
        self._drop()
        for statement in _TABLES:
            self._store.execute(statement)
        self._insert("load_members", ["node_id", "region", "model_id", "base_ms"], map(astuple, self._nodes))
        self._insert("load_gaps", ["node_id", "hour", "silent"], self._gaps)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def uptime(self, since: int, until: int) -> None:
        for start, end in self._windows(since, until, rows_per_hour=60):
            self._draw(_MINUTES, start, end)

    def latency(self, since: int, until: int) -> None:
        for start, end in self._windows(since, until, rows_per_hour=60 // LATENCY_EVERY_MINUTES):
            every = LATENCY_EVERY_MINUTES
            self._draw(_PROBES, start, end, every=every, times=60 // every, seed=self._seed)

    def receipts(self, since: int, until: int, *, per_node_day: float) -> None:
        """Writes the facts. `batches` counts them."""
        per_hour = per_node_day / 24
        for start, end in self._windows(since, until, rows_per_hour=per_hour):
            self._draw(
                _RECEIPTS,
                start,
                end,
                per_hour=per_hour,
                seed=self._seed,
                whole_hour=WHOLE_HOUR,
                accepted_after=ACCEPTED_AFTER_SECONDS,
            )

    def batches(self, since: int, until: int, *, per_node_day: float) -> None:
        """Counts the receipts that ended in the window, by minute."""
        # a quarter of the usual rows at once, because larger blocks would be split
        rows_per_hour = 4 * per_node_day / 24
        for start, end in self._windows(since, until, rows_per_hour=rows_per_hour):
            self._store.execute(
                _BATCHES + _PATIENCE,
                {
                    "start": moment(start + ACCEPTED_AFTER_SECONDS),
                    "end": moment(end + ACCEPTED_AFTER_SECONDS),
                    "day_before": moment(start - 24 * HOUR),
                    "salt": f"load {self._seed}",
                },
            )

    def copy_receipts(self, facts: Iterable[Row]) -> None:
        """Writes exactly the receipts that PostgreSQL has, each as `cells_of` gives it."""
        self._insert("receipt_facts", _FACT_COLUMNS, (list(map(_number, cells)) for cells in facts))

    def _draw(self, statement: str, since: int, until: int, **params: Param) -> None:
        hours = (until - since) // HOUR
        self._store.execute(statement + _PATIENCE, {"since": since, "until": until, "hours": hours, **params})

    def _windows(self, since: int, until: int, *, rows_per_hour: float) -> Iterator[tuple[int, int]]:
        rows = max(1.0, len(self._nodes) * rows_per_hour)
        step = max(1, min(24, int(_ROWS_AT_ONCE / rows))) * HOUR
        for start in range(since, until, step):
            yield start, min(start + step, until)

    def _insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        left = iter(rows)
        while some := list(islice(left, _FACTS_AT_ONCE)):
            self._store.insert(table, columns, some)

    def _drop(self) -> None:
        for table in ("load_members", "load_gaps"):
            self._store.execute(f"DROP TABLE IF EXISTS {table}")


def _number(cell: Cell) -> Cell:
    return int(cell) if isinstance(cell, bool) else cell
