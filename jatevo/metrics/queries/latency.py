"""Latencies that validators measured, in milliseconds, and tokens per second."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median_high

from jatevo.metrics.minutes import HOUR, ceil_hour, floor_hour
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.transport import Param, Transport

# With fewer probes, the 95th percentile is just the worst probe.
MIN_SAMPLES = 5

# t-digest, as in https://arxiv.org/abs/1902.04023, in ClickHouse's implementation (it interpolates
# differently before 21.x: small samples may differ by a step). A node's probes together speak for the
# requests that it served in the window, however often it was probed, and a node without any counts as one
# request.
_P95 = f"if(count() < {MIN_SAMPLES}, NULL, quantileTDigestWeighted(0.95)(p95_ms, weight))"
# Weights are whole numbers: thousandths of a request.
_WEIGHT = "toUInt64(greatest(intDiv(greatest(served, 1) * 1000, length(found)), 1)) AS weight"
# A probe is its node, second and id; several rows of it are the same probe delivered again.
_PROBES = (
    "SELECT toStartOfHour(ts) AS hour, node_id, any(region) AS place, any(p95) AS p95_ms"
    " FROM node_latency_minute"
    " WHERE toStartOfHour(ts) >= {first_hour} AND ts >= {since} AND ts < {until} AND isNotNull(p95)"
    " GROUP BY hour, node_id, ts, probe_id"
)
# The key begins with the day, which old servers do not deduce from a condition on ts_end.
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
# 10,000 nodes have half a million probes in as many hours: what one query may take.
_HOURS_AT_ONCE = 4


@dataclass(frozen=True)
class RegionLatency:
    """`p95_ms` is None under MIN_SAMPLES probes."""

    region: str
    p95_ms: float | None


@dataclass(frozen=True)
class NetworkLatency:
    """Regions by name, those that are folded among them; `folded_p95_ms` is that of these together."""

    p95_ms: float | None
    regions: list[RegionLatency]
    folded_p95_ms: float | None


@dataclass(frozen=True)
class HourLatency:
    """An hour of a region, or of the network (region ""); `p95_ms` is None under MIN_SAMPLES probes."""

    hour: datetime
    region: str
    p95_ms: float | None
    probes: int


@dataclass(frozen=True)
class LatencyPoint:
    """The figures of a probe, or of an hour of them; None for one that was not measured."""

    ts: datetime
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    tps: float | None


def p95_of_network(
    store: Transport, since: datetime, until: datetime, *, fold: Collection[str] = ()
) -> NetworkLatency:
    """The network's p95, that of each region that was probed in the window, and that of `fold` as one region.

    A t-digest over the p95s that probes measured. The requests that a node served in the window, at least 1,
    are shared out among its probes as their weights. None under MIN_SAMPLES.
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
    """The same figure for each hour that the window touches, all of the hour, by hour and region.

    Region "" is the network. What was not probed in an hour is left out. Known as long as raw minutes are
    kept.
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
    """A node's probes hour by hour: for each hour that the window touches and that has any, oldest first.

    p50 and tps are the median of what the hour's probes found; p95 and p99 are the worst, because a
    percentile of a dozen percentiles says less than the one that people felt. To a tenth.
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
    """Each node's last probe in the window (None: of all nodes); a node without one is missing."""
    if node_ids is not None and not node_ids:
        return {}
    params: dict[str, Param] = dict(_window(since, until))
    narrowed = ""
    if node_ids is not None:
        narrowed = "AND node_id IN {node_ids}"
        params["node_ids"] = list(node_ids)
    rows = store.execute(
        joined(
            "SELECT node_id, max(ts), argMax((p50, p95, p99, tps), (ts, probe_id)) AS figures"
            " FROM node_latency_minute"
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
    """To a hundredth: t-digest counts in Float32."""
    return None if figure is None else round(float(figure), 2)


# Where the figures are in a member of node_latency_hour's sets (schema 0012): tenths, or all ones.
_HIGH, _LOW = 24, 0
_NOT_MEASURED = (1 << 24) - 1


def _unpacked(members: Sequence[int], shift: int) -> list[float]:
    figures = [member >> shift & _NOT_MEASURED for member in members]
    return [figure / 10 for figure in figures if figure != _NOT_MEASURED]


def _median(figures: list[float]) -> float | None:
    """The middle one; of an even number, the upper of the two that are."""
    return median_high(figures) if figures else None
