"""What the console asks ClickHouse. Each figure has its one definition here.

Every function takes the store first and a half-open window `since <= ts < until` of aware datetimes, and
raises MetricsUnavailable. A figure that is not known is None, never 0. Rows that were delivered twice count
once: FINAL collapses them (merges alone do so only some day). Milliseconds and tokens per second throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jatevo.metrics.transport import Param, Transport

# Below this many probes a 95th percentile is the worst probe under another name.
MIN_SAMPLES = 5

# A probe that saw more tokens per second speaks for more traffic; one that measured no rate still counts.
_WEIGHT = "toUInt64(greatest(1, least(ifNull(tps, 1), 10000)))"
_P95 = f"if(count() < {MIN_SAMPLES}, NULL, quantileExactWeighted(0.95)(p95, {_WEIGHT}))"
_PROBES = "node_latency_minute FINAL WHERE ts >= {since} AND ts < {until} AND isNotNull(p95)"


@dataclass(frozen=True)
class RegionLatency:
    """`nodes` is how many nodes of the region were probed; `p95_ms` is None under MIN_SAMPLES probes."""

    region: str
    p95_ms: float | None
    nodes: int


@dataclass(frozen=True)
class LatencyPoint:
    """One probe's figures; None for one that it did not take."""

    ts: datetime
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    tps: float | None


@dataclass(frozen=True)
class HourCount:
    """`hour` is the hour's start (UTC)."""

    hour: datetime
    count: int


@dataclass(frozen=True)
class ReceiptTotals:
    """Sums over receipts. `p95_ms` is the 95th percentile of their own `p95_ms`, None if none has one."""

    count: int
    tokens_input: int
    tokens_output: int
    cache_hits: int
    failures: int
    p95_ms: float | None

    @property
    def cache_hit_rate(self) -> float | None:
        """From 0 to 1; None without receipts."""
        return self.cache_hits / self.count if self.count else None


def p95_global(store: Transport, since: datetime, until: datetime) -> float | None:
    """The network's p95: over the window's probes of all nodes, weighted by tokens per second."""
    sql = " ".join(["SELECT", _P95, "FROM", _PROBES])
    ((p95_ms,),) = store.execute(sql, {"since": since, "until": until})
    return _float(p95_ms)


def p95_by_region(store: Transport, since: datetime, until: datetime) -> list[RegionLatency]:
    """The same figure for each region that was probed in the window, by region name."""
    sql = " ".join(
        ["SELECT region,", _P95, ", uniqExact(node_id) FROM", _PROBES, "GROUP BY region ORDER BY region"]
    )
    rows = store.execute(sql, {"since": since, "until": until})
    return [RegionLatency(region, _float(p95_ms), nodes) for region, p95_ms, nodes in rows]


def requests_count(store: Transport, since: datetime, until: datetime) -> int:
    """Receipts by the minute in which they ended. A hedged request has one from each node that served it."""
    ((count,),) = store.execute(
        "SELECT sum(count) FROM requests_minute FINAL WHERE ts >= {since} AND ts < {until}",
        {"since": since, "until": until},
    )
    return int(count)


def requests_by_hour(store: Transport, since: datetime, until: datetime) -> list[HourCount]:
    """`requests_count` for every hour that the window touches, in order, quiet hours included as 0."""
    rows = store.execute(
        "SELECT toStartOfHour(ts) AS hour, sum(count) FROM requests_minute FINAL"
        " WHERE ts >= {since} AND ts < {until} GROUP BY hour",
        {"since": since, "until": until},
    )
    counts: dict[datetime, int] = dict(rows)
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = []
    while hour < until:
        hours.append(HourCount(hour, int(counts.get(hour, 0))))
        hour += timedelta(hours=1)
    return hours


def uptime_ratio(
    store: Transport, node_ids: Sequence[str], since: datetime, until: datetime
) -> dict[str, float | None]:
    """For each node: minutes seen up / minutes expected, from 0 to 1.

    Expected are the window's whole minutes from the node's first one on record; a node without any is None.
    """
    if not node_ids:
        return {}
    first_whole = _ceil_minute(since)
    end = until.astimezone(UTC).replace(second=0, microsecond=0)
    # A minute is up if any of its rows says so: that row is also the one with most beats, which stays.
    rows = store.execute(
        "SELECT node_id, min(ts), uniqExactIf(ts, up = 1 AND ts >= {since}) FROM node_uptime_minute"
        " WHERE node_id IN {node_ids} AND ts < {until} GROUP BY node_id",
        {"node_ids": list(node_ids), "since": first_whole, "until": end},
    )
    ratios: dict[str, float | None] = dict.fromkeys(node_ids)
    for node_id, first_seen, minutes_up in rows:
        minutes_expected = (end - max(first_seen, first_whole)) // timedelta(minutes=1)
        if minutes_expected > 0:
            ratios[node_id] = minutes_up / minutes_expected
    return ratios


def latency_series(store: Transport, node_id: str, since: datetime, until: datetime) -> list[LatencyPoint]:
    """A node's probes in the window, oldest first."""
    rows = store.execute(
        "SELECT ts, p50, p95, p99, tps FROM node_latency_minute FINAL"
        " WHERE node_id = {node_id} AND ts >= {since} AND ts < {until} ORDER BY ts, probe_id",
        {"node_id": node_id, "since": since, "until": until},
    )
    return [LatencyPoint(*row) for row in rows]


def latest_latency(
    store: Transport, node_ids: Sequence[str], since: datetime, until: datetime
) -> dict[str, LatencyPoint]:
    """Each node's last probe in the window; a node without one is missing."""
    if not node_ids:
        return {}
    rows = store.execute(
        "SELECT node_id, ts, p50, p95, p99, tps FROM node_latency_minute"
        " WHERE node_id IN {node_ids} AND ts >= {since} AND ts < {until}"
        " ORDER BY node_id, ts DESC, probe_id DESC LIMIT 1 BY node_id",
        {"node_ids": list(node_ids), "since": since, "until": until},
    )
    return {node_id: LatencyPoint(*figures) for node_id, *figures in rows}


def receipt_presence(store: Transport, node_id: str, request_id: str) -> bool:
    """Whether this receipt has arrived in ClickHouse."""
    ((count,),) = store.execute(
        "SELECT count() FROM receipt_facts WHERE node_id = {node_id} AND request_id = {request_id}",
        {"node_id": node_id, "request_id": request_id},
    )
    return bool(count)


def receipt_totals(
    store: Transport,
    since: datetime,
    until: datetime,
    *,
    node_ids: Sequence[str] | None = None,
    region: str | None = None,
    model_id: str | None = None,
    hedged: bool | None = None,
) -> ReceiptTotals:
    """Totals of the receipts that ended in the window and fit the filters; `node_ids=[]` fits none."""
    if node_ids is not None and not node_ids:
        return ReceiptTotals(0, 0, 0, 0, 0, None)
    where = ["ts_end >= {since}", "ts_end < {until}"]
    params: dict[str, Param] = {"since": since, "until": until}
    if node_ids is not None:
        where.append("node_id IN {node_ids}")
        params["node_ids"] = list(node_ids)
    if region is not None:
        where.append("region = {region}")
        params["region"] = region
    if model_id is not None:
        where.append("model_id = {model_id}")
        params["model_id"] = model_id
    if hedged is not None:
        where.append("hedged = {hedged}")
        params["hedged"] = hedged
    sums = "count(), sum(tokens_input), sum(tokens_output), sum(cache_hit), sum(failed)"
    sql = " ".join(
        ["SELECT", sums, ", quantileExact(0.95)(p95_ms) FROM receipt_facts FINAL WHERE", " AND ".join(where)]
    )
    ((count, tokens_input, tokens_output, cache_hits, failures, p95_ms),) = store.execute(sql, params)
    return ReceiptTotals(count, tokens_input, tokens_output, cache_hits, failures, _float(p95_ms))


def _float(figure: float | None) -> float | None:
    return None if figure is None else float(figure)


def _ceil_minute(at: datetime) -> datetime:
    floor = at.astimezone(UTC).replace(second=0, microsecond=0)
    return floor if floor == at else floor + timedelta(minutes=1)
