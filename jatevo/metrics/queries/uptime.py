"""The minutes in which nodes were up.

The rollup has a bit for each minute of an hour, so figures for any window of whole minutes are exact. They
are known as long as rollups are kept.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jatevo.metrics.minutes import (
    ALL_MINUTES,
    HOUR,
    MINUTE,
    ceil_minute,
    floor_hour,
    floor_minute,
    hours_of_windows,
)
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.transport import Param, Transport

# A minute is complete when a later heartbeat of the node arrives. A younger minute is not counted as missed.
SETTLED_AFTER = timedelta(minutes=2)
# Two queries for the same rows. For a week of 10,000 nodes, FINAL takes a third of the time. For a day or a
# few nodes, grouping is faster.
_LONG = 24 * HOUR
_HOURS_BY_FINAL = (
    "SELECT node_id, hour, finalizeAggregation(minutes_up) AS bits FROM node_uptime_hour FINAL WHERE"
)
_HOURS_BY_GROUP = "SELECT node_id, hour, groupBitOrMerge(minutes_up) AS bits FROM node_uptime_hour WHERE"


def uptime_ratio(
    store: Transport,
    node_ids: Sequence[str] | None,
    since: datetime,
    until: datetime,
    *,
    unheard: Sequence[tuple[datetime, datetime]] = (),
) -> dict[str, float | None]:
    """Each node's minutes up divided by its expected minutes, from 0 to 1. `node_ids=None` is all on record.

    Expected are the window's whole minutes from the node's first recorded one. Minutes that touch `unheard`,
    windows in which no node could be heard, are expected only if the node was up in them. The ratio is None
    without expected minutes.
    """
    if node_ids is not None and not node_ids:
        return {}
    start, end = ceil_minute(since), floor_minute(until)
    ratios: dict[str, float | None] = dict.fromkeys(node_ids or ())
    minutes_up = minutes_up_by_node(store, start, end, node_ids=node_ids)
    hours_unheard = hours_of_windows(unheard, start, end)
    up_meanwhile = _minutes_up_within(store, hours_unheard, node_ids)
    silent = [
        hour + number * MINUTE
        for hour, bits in sorted(hours_unheard.items())
        for number in range(60)
        if bits >> number & 1
    ]
    for node_id, first_minute in _first_minutes(store, node_ids):
        counts_from = max(first_minute, start)
        unknown = len(silent) - bisect_left(silent, counts_from)
        # the number of minutes.expected_minutes
        minutes_expected = (end - counts_from) // MINUTE - unknown + up_meanwhile.get(node_id, 0)
        ratios[node_id] = minutes_up.get(node_id, 0) / minutes_expected if minutes_expected > 0 else None
    return ratios


def _minutes_up_within(
    store: Transport, hours: Mapping[datetime, int], node_ids: Sequence[str] | None
) -> dict[str, int]:
    """In how many of these minutes (bits by hour) each node was up. Nodes without any are left out."""
    if not hours:
        return {}
    window = _Window(min(hours), max(hours) + HOUR)
    where, params = window.where(node_ids)
    seconds = [int(hour.timestamp()) for hour in hours]
    masks = ", ".join(f"toUInt64({bits})" for bits in hours.values())
    of_hour = f"transform(toUInt32(hour), [{', '.join(map(str, seconds))}], [{masks}], toUInt64(0))"
    rows = store.execute(
        joined(
            *("SELECT node_id, sum(", _popcount(f"bitAnd(bits, {of_hour})"), ") FROM ("),
            *(
                _HOURS_BY_GROUP,
                where,
                "AND toUInt32(hour) IN {seconds} GROUP BY node_id, hour) GROUP BY node_id",
            ),
        ),
        {**params, "seconds": seconds},
    )
    return {node_id: int(count) for node_id, count in rows if count}


def minutes_up_by_node(
    store: Transport, since: datetime, until: datetime, *, node_ids: Sequence[str] | None = None
) -> dict[str, int]:
    """In how many of the window's whole minutes each node was up. `node_ids=None` is all nodes.

    Nodes without a record in the window's hours are left out.
    """
    window = _Window(ceil_minute(since), floor_minute(until))
    if window.is_empty or (node_ids is not None and not node_ids):
        return {}
    where, params = window.where(node_ids)
    if node_ids is None and window.end - window.start > _LONG:
        hours = joined(_HOURS_BY_FINAL, where)
    else:
        hours = joined(_HOURS_BY_GROUP, where, "GROUP BY node_id, hour")
    rows = store.execute(
        joined(
            *("SELECT node_id, sum(", _popcount(window.masked("bits")), ") FROM (", hours, ")"),
            "GROUP BY node_id",
        ),
        params,
    )
    return {node_id: int(count) for node_id, count in rows}


def minutes_up_of_node(
    store: Transport, node_id: str, since: datetime, until: datetime
) -> dict[datetime, int]:
    """The window's minutes in which the node was up, as bits by hour (UTC), for hours with a record."""
    window = _Window(ceil_minute(since), floor_minute(until))
    if window.is_empty:
        return {}
    where, params = window.where([node_id])
    rows = store.execute(
        joined(
            *("SELECT hour,", window.masked("bits"), "FROM ("),
            "SELECT hour, groupBitOrMerge(minutes_up) AS bits FROM node_uptime_hour WHERE",
            *(where, "GROUP BY hour) ORDER BY hour"),
        ),
        params,
    )
    return {hour: int(bits) for hour, bits in rows}


def minutes_up_in_hour(store: Transport, hour: datetime) -> dict[str, int]:
    """The hour's minutes in which each node was up, as bits. Nodes without a record are left out."""
    where, params = _Window(hour, hour + HOUR).where(None)
    rows = store.execute(
        joined("SELECT node_id, bits FROM (", _HOURS_BY_GROUP, where, "GROUP BY node_id, hour)"), params
    )
    return {node_id: int(bits) for node_id, bits in rows}


def first_minute_up(store: Transport, node_id: str) -> datetime | None:
    """The node's first minute on record, up or down. `uptime_ratio` expects the node from then on.

    None if the node has no record.
    """
    return dict(_first_minutes(store, [node_id])).get(node_id)


def _first_minutes(store: Transport, node_ids: Sequence[str] | None) -> list[tuple[str, datetime]]:
    """Each node's first minute on record."""
    where: str = ""
    params: dict[str, Param] = {}
    if node_ids is not None:
        where, params = "WHERE node_id IN {node_ids}", {"node_ids": list(node_ids)}
    rows = store.execute(
        joined("SELECT node_id, minMerge(first_minute) FROM node_first_minute", where, "GROUP BY node_id"),
        params,
    )
    return [(node_id, first_minute) for node_id, first_minute in rows]


@dataclass(frozen=True)
class _Window:
    """Whole minutes from `start` to before `end`."""

    start: datetime
    end: datetime

    @property
    def is_empty(self) -> bool:
        return self.start >= self.end

    def where(self, node_ids: Sequence[str] | None) -> tuple[str, dict[str, Param]]:
        """The condition for rows with minutes of the window. The table's key starts with the day."""
        params: dict[str, Param] = {"first_hour": floor_hour(self.start), "end": self.end}
        where = (
            "toDate(hour) >= toDate({first_hour}, 'UTC') AND toDate(hour) <= toDate({end}, 'UTC')"
            " AND hour >= {first_hour} AND hour < {end}"
        )
        if node_ids is not None:
            where += " AND node_id IN {node_ids}"
            params["node_ids"] = list(node_ids)
        return where, params

    def masked(self, bits: str) -> str:
        """SQL for `bits` without the minutes of the first and last hour that are outside the window."""
        first, last = floor_hour(self.start), floor_hour(self.end)
        from_start = ALL_MINUTES >> self.start.minute << self.start.minute
        to_end = (1 << self.end.minute) - 1
        first_seconds, last_seconds = int(first.timestamp()), int(last.timestamp())
        if first == last:
            from_start &= to_end
        hour = "toUInt32(hour)"
        return (
            f"bitAnd({bits}, multiIf({hour} = {first_seconds}, toUInt64({from_start}),"
            f" {hour} = {last_seconds}, toUInt64({to_end}), toUInt64({ALL_MINUTES})))"
        )


def _popcount(bits: str) -> str:
    """SQL for the number of bits that are set, because ClickHouse 18.16 has no bitCount.

    It adds neighbouring bits, then pairs of bits, and so on.
    """
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        bits = f"(bitAnd({bits}, {mask}) + bitAnd(bitShiftRight({bits}, {shift}), {mask}))"
    # The multiplication by 0x0101… adds up the eight bytes in the highest one.
    return f"bitShiftRight({bits} * toUInt64({0x0101010101010101}), 56)"
