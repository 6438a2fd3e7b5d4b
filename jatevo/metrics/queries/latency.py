"""Latencies (milliseconds) and speeds (tokens per second) that validators measured."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median_high

from jatevo.metrics.minutes import HOUR, ceil_hour, floor_hour
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.transport import Param, Transport

# With fewer probes, the 95th percentile is just the worst probe.
MIN_SAMPLES = 5

# t-digest, as in https://arxiv.org/abs/1902.04023, in ClickHouse's implementation (before 21.x it
# interpolates differently, so results of small samples may differ). The total weight of a node's probes is
# the number of requests that it served in the window, and at least 1, however often it was probed.
_P95 = f"if(count() < {MIN_SAMPLES}, NULL, quantileTDigestWeighted(0.95)(p95_ms, weight))"
# Weights are integers, in thousandths of a request.
_WEIGHT = "toUInt64(greatest(intDiv(greatest(served, 1) * 1000, length(found)), 1)) AS weight"
# A probe is identified by node, second and id. Further rows of it are repeated deliveries.
_PROBES = (
    "SELECT toStartOfHour(ts) AS hour, node_id, any(region) AS place, any(p95) AS p95_ms"
    " FROM node_latency_minute"
    " WHERE toStartOfHour(ts) >= {first_hour} AND ts >= {since} AND ts < {until} AND isNotNull(p95)"
    " GROUP BY hour, node_id, ts, probe_id"
)
# The table's key starts with the day, and old servers do not derive that from a condition on ts_end.
_SERVED_WHERE = (
    "toDate(ts_end) >= toDate({since}, 'UTC') AND toDate(ts_end) <= toDate({until}, 'UTC')"
    " AND ts_end >= {since} AND ts_end < {until}"
)
_OF_THE_WINDOW = joined(
    *("SELECT node_id, place, p95_ms,", _WEIGHT, "FROM (SELECT node_id, place, found, served FROM"),
    *("(SELECT node_id, place, groupArray(p95_ms) AS found FROM (", _PROBES, ") GROUP BY node_id, place)"),
    "AS measured ANY LEFT JOIN (SELECT node_id, uniqExact(request_id) AS served FROM receipt_facts WHERE",
    _SERVED_WHERE,
    "GROUP BY node_id) AS traffic USING node_id) ARRAY JOIN found AS p95_ms",
)
_OF_EACH_HOUR = joined(
    *("SELECT hour, place, p95_ms,", _WEIGHT, "FROM (SELECT hour, place, found, served FROM"),
    *("(SELECT hour, node_id, place, groupArray(p95_ms) AS found FROM (", _PROBES, ")"),
    "GROUP BY hour, node_id, place) AS measured ANY LEFT JOIN"
    " (SELECT toStartOfHour(ts_end) AS hour, node_id, uniqExact(request_id) AS served"
    " FROM receipt_facts WHERE",
    _SERVED_WHERE,
    "GROUP BY hour, node_id) AS traffic USING hour, node_id) ARRAY JOIN found AS p95_ms",
)
# The most for one query: 10,000 nodes have half a million probes in this time.
_HOURS_AT_ONCE = 4


@dataclass(frozen=True)
class RegionLatency:
    """`p95_ms` is None for fewer than MIN_SAMPLES probes."""

    region: str
    p95_ms: float | None


@dataclass(frozen=True)
class NetworkLatency:
    """`regions` are ordered by name and include folded ones. `folded_p95_ms` is for all of those together."""

    p95_ms: float | None
    regions: list[RegionLatency]
    folded_p95_ms: float | None


@dataclass(frozen=True)
class HourLatency:
    """An hour of a region or of the network (region ""). `p95_ms` is None under MIN_SAMPLES probes."""

    hour: datetime
    region: str
    p95_ms: float | None
    probes: int


@dataclass(frozen=True)
class LatencyPoint:
    """The figures of a probe, or of an hour of probes. A figure that was not measured is None."""

    ts: datetime
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    tps: float | None


def p95_of_network(
    store: Transport, since: datetime, until: datetime, *, fold: Collection[str] = ()
) -> NetworkLatency:
    """The p95 of the network, of each region that was probed in the window, and of `fold` as one region.

    It is a t-digest over the p95s of probes. The number of requests that a node served in the window, at
    least 1, is divided among its probes as their weight. None for fewer than MIN_SAMPLES probes.
    """
    params: dict[str, Param] = dict(_window(since, until))
    scopes = "['network', 'region']"
    if fold:
        scopes = "if(place IN {fold}, ['network', 'region', 'folded'], ['network', 'region'])"
        params |= {"fold": sorted(fold)}
    rows = store.execute(
        joined(
            *("SELECT scope, if(scope = 'region', place, '') AS line,", _P95, "FROM (", _OF_THE_WINDOW, ")"),
            *("ARRAY JOIN", scopes, "AS scope GROUP BY scope, line ORDER BY scope, line"),
        ),
        params,
    )
    whole = {scope: _float(p95_ms) for scope, _, p95_ms in rows if scope != "region"}
    regions = [RegionLatency(name, _float(p95_ms)) for scope, name, p95_ms in rows if scope == "region"]
    return NetworkLatency(whole.get("network"), regions, whole.get("folded"))


def latency_by_hour(store: Transport, since: datetime, until: datetime) -> list[HourLatency]:
    """The same figure for each whole hour that the window touches, by hour and region.

    Region "" is the network. A region that was not probed in an hour is left out. Known as long as raw
    minutes are kept.
    """
    hours = []
    for start, end in _chunks(floor_hour(since), ceil_hour(until)):
        rows = store.execute(
            joined(
                *("SELECT hour, line,", _P95, ", count() FROM (", _OF_EACH_HOUR, ")"),
                "ARRAY JOIN [place, ''] AS line GROUP BY hour, line ORDER BY hour, line",
            ),
            _window(start, end),
        )
        hours += [HourLatency(hour, region, _float(p95), probes) for hour, region, p95, probes in rows]
    return hours


def latency_series(store: Transport, node_id: str, since: datetime, until: datetime) -> list[LatencyPoint]:
    """A node's probes in the window, oldest first. Known as long as raw minutes are kept."""
    rows = store.execute(
        "SELECT ts, any(p50), any(p95), any(p99), any(tps) FROM node_latency_minute"
        " WHERE toStartOfHour(ts) >= {first_hour} AND node_id = {node_id} AND ts >= {since} AND ts < {until}"
        " GROUP BY ts, probe_id ORDER BY ts, probe_id",
        {"node_id": node_id, **_window(since, until)},
    )
    return [LatencyPoint(*row) for row in rows]


def latency_by_node_hour(
    store: Transport, node_id: str, since: datetime, until: datetime
) -> list[LatencyPoint]:
    """A node's probes by hour, for each hour with any that the window touches, oldest first.

    p50 and tps are the medians of the hour's probes. p95 and p99 are the worst, because a percentile of a few
    percentiles means little. Values are rounded to tenths.
    """
    rows = store.execute(
        "SELECT hour, groupUniqArrayMerge(p50_p95), groupUniqArrayMerge(p99_tps) FROM node_latency_hour"
        " WHERE toDate(hour) >= toDate({first_hour}, 'UTC') AND toDate(hour) <= toDate({end_hour}, 'UTC')"
        " AND node_id = {node_id} AND hour >= {first_hour} AND hour < {end_hour}"
        " GROUP BY hour ORDER BY hour",
        {"node_id": node_id, "first_hour": floor_hour(since), "end_hour": ceil_hour(until)},
    )
    return [
        LatencyPoint(
            ts=hour,
            p50_ms=_median(_unpacked(p50_p95, _HIGH)),
            p95_ms=max(_unpacked(p50_p95, _LOW), default=None),
            p99_ms=max(_unpacked(p99_tps, _HIGH), default=None),
            tps=_median(_unpacked(p99_tps, _LOW)),
        )
        for hour, p50_p95, p99_tps in rows
    ]


def latest_latency(
    store: Transport, node_ids: Sequence[str] | None, since: datetime, until: datetime
) -> dict[str, LatencyPoint]:
    """Each node's last probe in the window. `node_ids=None` is all nodes. Nodes without one are left out."""
    if node_ids is not None and not node_ids:
        return {}
    params: dict[str, Param] = dict(_window(since, until))
    narrowed = ""
    if node_ids is not None:
        narrowed = "AND node_id IN {node_ids}"
        params["node_ids"] = list(node_ids)
    rows = store.execute(
        joined(
            # NaN for what was not measured: 18.16 passes no NULL in a tuple from one server of a cluster to the other
            "SELECT node_id, max(ts), argMax((ifNull(p50, nan), ifNull(p95, nan), ifNull(p99, nan), ifNull(tps, nan)),"
            " (ts, probe_id)) AS figures FROM node_latency_minute"
            " WHERE toStartOfHour(ts) >= {first_hour} AND ts >= {since} AND ts < {until}",
            narrowed,
            "GROUP BY node_id",
        ),
        params,
    )
    return {node_id: LatencyPoint(ts, *figures) for node_id, ts, figures in rows}


def _window(since: datetime, until: datetime) -> dict[str, datetime]:
    return {"first_hour": floor_hour(since), "since": since, "until": until}


def _chunks(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        following = min(start + _HOURS_AT_ONCE * HOUR, end)
        yield start, following
        start = following


def _float(figure: float | None) -> float | None:
    """Rounds to hundredths, because t-digest computes in Float32."""
    return None if figure is None else round(float(figure), 2)


# The positions of the figures in a member of node_latency_hour's sets (schema 0012). A figure is in tenths,
# or all ones if it was not measured.
_HIGH, _LOW = 24, 0
_NOT_MEASURED = (1 << 24) - 1


def _unpacked(members: Sequence[int], shift: int) -> list[float]:
    figures = [member >> shift & _NOT_MEASURED for member in members]
    return [figure / 10 for figure in figures if figure != _NOT_MEASURED]


def _median(figures: list[float]) -> float | None:
    """The median. Of an even number, the upper of the two middle values."""
    return median_high(figures) if figures else None
