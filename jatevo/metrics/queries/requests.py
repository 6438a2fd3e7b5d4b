"""How many requests the network served: receipts by the minute or hour in which the request ended.

A hedged request has a receipt from each node that served it, and each of them counts. A batch that was
delivered twice has identical rows until they are merged. Queries group by a row's identity, to count it once.
"""

from dataclasses import dataclass
from datetime import datetime

from jatevo.metrics.minutes import HOUR, ceil_hour, floor_hour, hours_touched
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.transport import Transport

# Whole hours come from the rollup, and the minutes before and after them from the raw table. Rows are
# identified by batch, region and time. Grouping by a hash of these takes half the time.
_ROLLUP = (
    "requests_hour WHERE hour >= {first_hour} AND hour < {end_hour}"
    " GROUP BY cityHash64(toString(batch), region, hour)"
)
_EDGES = (
    "requests_minute WHERE (ts >= {since} AND ts < {first_hour}) OR (ts >= {end_hour} AND ts < {until})"
    " GROUP BY cityHash64(toString(batch), region, ts)"
)


@dataclass(frozen=True)
class HourCount:
    """The receipts of an hour. `hour` is its start (UTC)."""

    hour: datetime
    count: int


@dataclass(frozen=True)
class HourTraffic:
    """A region's hour: its receipts, their tokens and cache hits, and how many requests failed."""

    hour: datetime
    region: str
    requests: int
    tokens_input: int
    tokens_output: int
    cache_hits: int
    errors: int


def requests_count(store: Transport, since: datetime, until: datetime) -> int:
    """Receipts of requests that ended in minutes that begin in the window.

    For windows older than the retention of raw minutes, only whole hours are counted.
    """
    ((count,),) = store.execute(
        joined(
            "SELECT sum(requests) FROM (",
            *("SELECT max(count) AS requests FROM", _ROLLUP),
            *("UNION ALL SELECT max(count) AS requests FROM", _EDGES, ")"),
        ),
        _parts(since, until),
    )
    return int(count)


def requests_by_hour(store: Transport, since: datetime, until: datetime) -> list[HourCount]:
    """`requests_count` for every hour that the window touches, in order. Hours without receipts have 0."""
    rows = store.execute(
        joined(
            "SELECT start, sum(requests) FROM (",
            *("SELECT any(hour) AS start, max(count) AS requests FROM", _ROLLUP),
            *("UNION ALL SELECT any(toStartOfHour(ts)) AS start, max(count) AS requests FROM", _EDGES, ")"),
            "GROUP BY start",
        ),
        _parts(since, until),
    )
    counts: dict[datetime, int] = dict(rows)
    return [HourCount(hour, int(counts.get(hour, 0))) for hour in hours_touched(since, until)]


def traffic_by_hour(store: Transport, since: datetime, until: datetime) -> list[HourTraffic]:
    """The traffic of each whole hour that the window touches, by hour and region.

    A region without receipts in an hour is left out. The network is the sum of its regions and has no row.
    """
    rows = store.execute(
        "SELECT hour, region, sum(c), sum(i), sum(o), sum(h), sum(e) FROM ("
        " SELECT hour, region, max(count) AS c, max(tokens_in) AS i, max(tokens_out) AS o,"
        " max(cache_hits) AS h, max(errors) AS e FROM requests_hour"
        " WHERE hour >= {first_hour} AND hour < {end_hour} GROUP BY hour, region, batch"
        ") GROUP BY hour, region HAVING sum(c) > 0 ORDER BY hour, region",
        {"first_hour": floor_hour(since), "end_hour": ceil_hour(until)},
    )
    return [HourTraffic(*row) for row in rows]


def _parts(since: datetime, until: datetime) -> dict[str, datetime]:
    """The window and the whole hours in it. If there are none, the raw table covers the whole window."""
    first_hour, end_hour = ceil_hour(since), floor_hour(until)
    if end_hour - first_hour < HOUR:
        first_hour = end_hour = until
    return {"since": since, "until": until, "first_hour": first_hour, "end_hour": end_hour}
