"""Standings of nodes: the latest figures from the metrics store, kept in PostgreSQL for lists and details.

Lists sort ten thousand nodes by p95 or uptime without waiting for ClickHouse. The worker copies the figures
every few seconds (`refresh_standings`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection

from jatevo.metrics import queries
from jatevo.metrics.bad_rows import store_around
from jatevo.metrics.completeness import complete_until
from jatevo.metrics.store import get_store
from jatevo.web.figures import Figure
from nodes.models import Exemption, ExemptionKind, Node, NodeStanding

LATENCY_WINDOW = timedelta(hours=1)
UPTIME_WINDOW = timedelta(days=7)
# After twelve missed refreshes the figures are stale.
STALE_AFTER = timedelta(minutes=3)

UNPROBED = "No probe has measured it in the past hour."
UNHEARD = "No minute is on record yet."
OLD = "The metrics store has not answered, or has been behind, for a while."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class NodeFigures:
    """A node's figures. Latencies are in milliseconds, of the last probe within an hour.

    Uptime is a share from 0 to 1 over 7 days.
    """

    p50_ms: Figure
    p95_ms: Figure
    p99_ms: Figure
    uptime_7d: Figure

    @property
    def old(self) -> bool:
        """Whether these are the last good figures, because their source does not answer."""
        return bool(self.p95_ms.reason == OLD)


def standing_figures(standing: NodeStanding | None, *, at: datetime) -> NodeFigures:
    """A standing as figures with their as-of time: known, stale, or unknown with a reason."""
    if standing is None:
        unknown = Figure.of(None, as_of=at, if_none=UNPROBED)
        return NodeFigures(unknown, unknown, unknown, Figure.of(None, as_of=at, if_none=UNHEARD))
    figures = [
        Figure.of(value, as_of=standing.as_of, if_none=UNPROBED)
        for value in (standing.p50_ms, standing.p95_ms, standing.p99_ms)
    ]
    figures.append(Figure.of(standing.uptime_7d, as_of=standing.as_of, if_none=UNHEARD))
    if at - standing.as_of > STALE_AFTER:
        figures = [figure.aged(OLD) for figure in figures]
    return NodeFigures(*figures)


# Unchanged rows get the new `as_of` too, since it gives the age of their figures. These are HOT updates
# without index writes.
_UPSERT = """
INSERT INTO nodes_nodestanding (node_id, p50_ms, p95_ms, p99_ms, measured_at, uptime_7d, as_of)
SELECT n.id, t.p50_ms, t.p95_ms, t.p99_ms, t.measured_at, t.uptime_7d, %(at)s
FROM unnest(%(node_id)s::varchar[], %(p50_ms)s::float8[], %(p95_ms)s::float8[], %(p99_ms)s::float8[],
            %(measured_at)s::timestamptz[], %(uptime_7d)s::float8[])
    AS t (node_id, p50_ms, p95_ms, p99_ms, measured_at, uptime_7d)
JOIN nodes_node n ON n.id = t.node_id
ORDER BY n.id
ON CONFLICT (node_id) DO UPDATE SET
    p50_ms = excluded.p50_ms, p95_ms = excluded.p95_ms, p99_ms = excluded.p99_ms,
    measured_at = excluded.measured_at, uptime_7d = excluded.uptime_7d, as_of = excluded.as_of
WHERE nodes_nodestanding.as_of < excluded.as_of
"""


def refresh_standings(*, at: datetime) -> int:
    """Updates every node's standing. Returns how many were written.

    While facts are late on their way to ClickHouse, `as_of` is the moment up to which it has all of them.
    A node whose figures cannot be stored is logged, and the others are still updated.
    Raises MetricsError while ClickHouse does not answer. Then nothing is written.
    """
    store, as_of = get_store(), complete_until(at=at)
    latencies = queries.latest_latency(store, None, as_of - LATENCY_WINDOW, as_of + timedelta(minutes=1))
    since, until = as_of - UPTIME_WINDOW, as_of - queries.SETTLED_AFTER
    ours = Exemption.objects.filter(kind=ExemptionKind.OUTAGE).overlapping(since, until)
    unheard = [
        (starts_at, ends_at or until) for starts_at, ends_at in ours.values_list("starts_at", "ends_at")
    ]
    uptimes = queries.uptime_ratio(store, None, since, until, unheard=unheard)
    rows = [
        _row(node_id, latencies.get(node_id), uptimes.get(node_id))
        for node_id in Node.objects.order_by("pk").values_list("pk", flat=True)
    ]
    written = 0

    def upsert(some: Sequence[_Row]) -> None:
        nonlocal written
        with connection.cursor() as cursor:
            cursor.execute(_UPSERT, {"at": as_of, **_columns(some)})
            written += cursor.rowcount

    for row, error in store_around(rows, upsert):
        log.error("a node's figures cannot be stored", node_id=row[0], error=str(error))
    return written


_COLUMNS = ("node_id", "p50_ms", "p95_ms", "p99_ms", "measured_at", "uptime_7d")
_Row = tuple[str, float | None, float | None, float | None, datetime | None, float | None]


def _row(node_id: str, point: queries.LatencyPoint | None, uptime: float | None) -> _Row:
    if point is None:
        return (node_id, None, None, None, None, uptime)
    return (node_id, point.p50_ms, point.p95_ms, point.p99_ms, point.ts, uptime)


def _columns(rows: Sequence[_Row]) -> dict[str, list[Any]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(_COLUMNS)}
