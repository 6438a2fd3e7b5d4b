"""What the metrics store says of nodes, with the last good figures while it does not answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.core.cache import cache

from jatevo.metrics import queries
from jatevo.metrics.store import MetricsError, get_store
from jatevo.web.figures import Figure
from nodes.latency import LOOK_BACK

TREND_WINDOW = timedelta(hours=24)
UPTIME_WINDOW = timedelta(days=7)
FRESH = timedelta(seconds=10)
KEEP_SECONDS = 24 * 3600
UNREACHABLE = "The metrics store cannot be reached."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class NodeFigures:
    """Latencies in milliseconds of the last probe in an hour; uptime over 7 days from 0 to 1."""

    p50_ms: Figure
    p95_ms: Figure
    p99_ms: Figure
    uptime_7d: Figure


@dataclass(frozen=True)
class LatencyTrend:
    """A node's probes of the last 24 h, oldest first, as series in milliseconds; empty with a reason."""

    p50_ms: list[float | None]
    p95_ms: list[float | None]
    p99_ms: list[float | None]
    reason: str = ""


@dataclass(frozen=True)
class _Reading:
    """What is kept in the cache of a node."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    uptime_7d: float | None
    as_of: datetime


def node_figures(node_ids: Sequence[str], *, at: datetime) -> dict[str, NodeFigures]:
    """The figures of each node. Those of the last ten seconds are used again; old ones only if need be."""
    keys = {node_id: f"node-figures:{node_id}" for node_id in node_ids}
    kept: dict[str, _Reading] = cache.get_many(keys.values()) if keys else {}
    known = {node_id: kept[key] for node_id, key in keys.items() if key in kept}
    if all(node_id in known and at - known[node_id].as_of < FRESH for node_id in node_ids):
        return {node_id: _figures(known[node_id]) for node_id in node_ids}
    try:
        fresh = _read(node_ids, at)
    except MetricsError as error:
        log.info("metrics unavailable for the node list", error=str(error))
        return {node_id: _aged(known.get(node_id), at) for node_id in node_ids}
    cache.set_many({keys[node_id]: reading for node_id, reading in fresh.items()}, timeout=KEEP_SECONDS)
    return {node_id: _figures(reading) for node_id, reading in fresh.items()}


def latency_trend(node_id: str, *, at: datetime) -> LatencyTrend:
    """The series for a node's charts."""
    try:
        points = queries.latency_series(get_store(), node_id, at - TREND_WINDOW, at)
    except MetricsError:
        return LatencyTrend([], [], [], reason=UNREACHABLE)
    return LatencyTrend(
        [point.p50_ms for point in points],
        [point.p95_ms for point in points],
        [point.p99_ms for point in points],
        reason=""
        if len(points) > 1
        else "A line needs two probes within 24 hours; there is not yet a second one.",
    )


def _read(node_ids: Sequence[str], at: datetime) -> dict[str, _Reading]:
    store = get_store()
    latencies = queries.latest_latency(store, node_ids, at - LOOK_BACK, at + timedelta(minutes=1))
    uptimes: Mapping[str, float | None] = queries.uptime_ratio(store, node_ids, at - UPTIME_WINDOW, at)
    readings = {}
    for node_id in node_ids:
        point = latencies.get(node_id)
        readings[node_id] = _Reading(
            p50_ms=point.p50_ms if point else None,
            p95_ms=point.p95_ms if point else None,
            p99_ms=point.p99_ms if point else None,
            uptime_7d=uptimes.get(node_id),
            as_of=at,
        )
    return readings


def _figures(reading: _Reading) -> NodeFigures:
    unprobed = "No probe has measured it in the past hour."
    return NodeFigures(
        p50_ms=Figure.of(reading.p50_ms, as_of=reading.as_of, if_none=unprobed),
        p95_ms=Figure.of(reading.p95_ms, as_of=reading.as_of, if_none=unprobed),
        p99_ms=Figure.of(reading.p99_ms, as_of=reading.as_of, if_none=unprobed),
        uptime_7d=Figure.of(reading.uptime_7d, as_of=reading.as_of, if_none="No minute is on record yet."),
    )


def _aged(reading: _Reading | None, at: datetime) -> NodeFigures:
    figures = _figures(reading or _Reading(None, None, None, None, at))
    return NodeFigures(
        p50_ms=figures.p50_ms.aged(UNREACHABLE),
        p95_ms=figures.p95_ms.aged(UNREACHABLE),
        p99_ms=figures.p99_ms.aged(UNREACHABLE),
        uptime_7d=figures.uptime_7d.aged(UNREACHABLE),
    )
