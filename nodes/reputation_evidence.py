"""What PostgreSQL knows of a day, as the observations that nodes/reputation.py scores.

Everything is asked for many nodes at once. Minutes are bits of an hour: heard, expected and exempt ones are
masks, and PostgreSQL counts what is left. A probe, an outage or a quarantine for being out of reach counts for
nothing if its hour touches an exemption of its node. What a node signed is exempt from nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Q

from jatevo.metrics.queries import SETTLED_AFTER
from nodes.lifecycle import MISSED_WINDOW, Phase, Reason
from nodes.models import Exemption, Node, NodeTransition
from nodes.reputation import OUTAGE_TENTHS, QUARANTINE_TENTHS, Day, Kind, Observation

_HOUR = timedelta(hours=1)
_WHOLE_HOUR = (1 << 60) - 1
# What an exemption excuses, each with how far back lies what it blames: the node was out of reach.
_EXCUSABLE: dict[str, timedelta] = {
    Reason.NO_HEARTBEAT: timedelta(0),
    Reason.PROBES_FAILED: timedelta(0),
    Reason.HEARTBEATS_MISSED: MISSED_WINDOW,
}

# `clock` holds the day's hours with the minutes that are over; `pardon` the exempt ones, by node, by region or
# ('' and null) for all. A node is expected from the first minute in which it was ever heard.
_SQL = """
WITH clock AS (
    SELECT * FROM unnest(%(hours)s::timestamptz[], %(masks)s::bigint[]) AS t (hour, mask)
), pardon AS (
    SELECT * FROM unnest(%(pardon_hours)s::timestamptz[], %(pardon_nodes)s::varchar[],
                         %(pardon_regions)s::varchar[], %(pardon_masks)s::bigint[]) AS t (hour, node_id, region, mask)
), pardoned AS (
    SELECT n.id AS node_id, p.hour, bit_or(p.mask) AS mask
    FROM pardon p JOIN nodes_node n
      ON n.id = p.node_id OR (p.node_id IS NULL AND (p.region = '' OR p.region = n.region))
    WHERE %(all)s OR n.id = ANY(%(nodes)s)
    GROUP BY n.id, p.hour
), minutes AS (
    SELECT n.id AS node_id, h.*, COALESCE(p.mask, 0) AS exempt,
           CASE WHEN c.hour = f.hour THEN c.mask & ~((f.heard & -f.heard) - 1) ELSE c.mask END AS due
    FROM nodes_node n
    CROSS JOIN LATERAL (
        SELECT hour, heard FROM nodes_nodehour WHERE node_id = n.id AND heard <> 0 ORDER BY hour LIMIT 1
    ) f
    JOIN clock c ON c.hour >= f.hour
    LEFT JOIN pardoned p ON p.node_id = n.id AND p.hour = c.hour
    LEFT JOIN LATERAL (
        SELECT heard, health_passed, health_failed, audits_passed, audits_failed, latency_passed, latency_slow
        FROM nodes_nodehour WHERE node_id = n.id AND hour = c.hour
    ) h ON true
    WHERE %(all)s OR n.id = ANY(%(nodes)s)
)
SELECT node_id,
       sum(bit_count((due & ~exempt)::bit(64))),
       sum(bit_count((due & ~exempt & ~COALESCE(heard, 0))::bit(64))),
       sum(bit_count((due & exempt)::bit(64))),
       COALESCE(sum(health_passed) FILTER (WHERE exempt = 0), 0), COALESCE(sum(health_failed) FILTER (WHERE exempt = 0), 0),
       COALESCE(sum(audits_passed) FILTER (WHERE exempt = 0), 0), COALESCE(sum(audits_failed) FILTER (WHERE exempt = 0), 0),
       COALESCE(sum(latency_passed) FILTER (WHERE exempt = 0), 0), COALESCE(sum(latency_slow) FILTER (WHERE exempt = 0), 0)
FROM minutes GROUP BY node_id
"""

_ROLL_UP = """
INSERT INTO nodes_nodehour (node_id, hour, heard)
SELECT node_id, date_trunc('hour', minute, 'UTC'), bit_or(1::bigint << extract(minute FROM minute AT TIME ZONE 'UTC')::int)
FROM (
    SELECT node_id, minute FROM nodes_heartbeatminute WHERE minute >= %(since)s AND beats > 0
    UNION ALL
    SELECT id, beat_minute FROM nodes_node WHERE beat_minute >= %(since)s AND beats > 0
) AS heard
GROUP BY 1, 2
ORDER BY 1, 2
ON CONFLICT (node_id, hour) DO UPDATE SET heard = nodes_nodehour.heard | excluded.heard
WHERE nodes_nodehour.heard | excluded.heard <> nodes_nodehour.heard
"""


@dataclass(frozen=True)
class Window:
    """An exemption as far as it matters here: `node_id` or `region` or (None and '') everybody."""

    node_id: str | None
    region: str
    starts_at: datetime
    ends_at: datetime

    def covers(self, node_id: str, region: str) -> bool:
        return self.node_id == node_id if self.node_id else self.region in ("", region)


def roll_up_minutes(*, since: datetime) -> int:
    """Puts the heartbeat minutes since then into the nodes' hours; returns how many hours changed."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_UP, {"since": since})
        return cursor.rowcount


def observe(day: date, *, at: datetime, node_ids: Collection[str] | None = None) -> dict[str, Day]:
    """What the day (UTC) showed of each node, or of those named; nodes without any evidence are missing."""
    start = datetime.combine(day, time(), UTC)
    end = min(start + timedelta(days=1), at - SETTLED_AFTER)
    if end <= start:
        return {}
    windows = _windows(start - MISSED_WINDOW, start + timedelta(days=1), at)
    found: dict[str, list[Observation]] = defaultdict(list)
    for node_id, due, missed, exempt, *probes in _minutes_and_probes(start, end, windows, node_ids):
        found[node_id] += _of_minutes(due, missed, exempt)
        found[node_id] += _of_probes(*probes)
    for node_id, observation in _of_receipts(start, node_ids):
        found[node_id].append(observation)
    breaches = _breaches(start, windows, node_ids)
    days = {}
    for node_id, observations in found.items():
        due = next((each.total for each in observations if each.kind is Kind.SILENCE), 0)
        if due:
            observations.append(_of_conduct(breaches.get(node_id, {}), due))
        kept = tuple(each for each in observations if each.total or each.exempt)
        if kept:
            days[node_id] = Day(day, kept)
    return days


def _of_minutes(due: int, missed: int, exempt: int) -> list[Observation]:
    return [Observation(Kind.SILENCE, int(missed), int(due), int(exempt))]


def _of_probes(
    health_passed: int,
    health_failed: int,
    audits_passed: int,
    audits_failed: int,
    latency_passed: int,
    latency_slow: int,
) -> list[Observation]:
    return [
        Observation(Kind.HEALTH, int(health_failed), int(health_passed + health_failed)),
        Observation(Kind.AUDIT, int(audits_failed), int(audits_passed + audits_failed)),
        Observation(Kind.LATENCY, int(latency_slow), int(latency_passed + latency_slow)),
    ]


def _of_conduct(breaches: dict[str, int], minutes_due: int) -> Observation:
    """Policy: a day counts for as much of it as the node was there, and not less than what it did."""
    quarantines, outages = breaches.get("quarantines", 0), breaches.get("outages", 0)
    tenths = min(10, quarantines * QUARANTINE_TENTHS + outages * OUTAGE_TENTHS)
    said = []
    if quarantines:
        said.append(f"quarantined {_times(quarantines)}")
    if outages:
        said.append(f"offline without announced maintenance {_times(outages)}")
    total = 10 if tenths else min(10, max(1, round(10 * minutes_due / 1440)))
    return Observation(Kind.CONDUCT, tenths, total, note=", ".join(said).capitalize())


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _minutes_and_probes(
    start: datetime, end: datetime, windows: Sequence[Window], node_ids: Collection[str] | None
) -> list[tuple[Any, ...]]:
    hours = [start + _HOUR * number for number in range(24) if start + _HOUR * number < end]
    pardons = [
        (hour, window.node_id, window.region, _mask(hour, window.starts_at, window.ends_at))
        for window in windows
        for hour in hours
        if window.starts_at < hour + _HOUR and window.ends_at > hour
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _SQL,
            {
                "hours": hours,
                "masks": [_mask(hour, start, end.replace(second=0, microsecond=0)) for hour in hours],
                "pardon_hours": [pardon[0] for pardon in pardons],
                "pardon_nodes": [pardon[1] for pardon in pardons],
                "pardon_regions": [pardon[2] for pardon in pardons],
                "pardon_masks": [pardon[3] for pardon in pardons],
                "all": node_ids is None,
                "nodes": list(node_ids or ()),
            },
        )
        return cursor.fetchall()


def _mask(hour: datetime, since: datetime, until: datetime) -> int:
    """The minutes of the hour that `since <= t < until` touches, as bits."""
    first = max(0, int((since - hour).total_seconds() // 60))
    last = min(60, -int((hour - until).total_seconds() // 60))
    return (_WHOLE_HOUR >> (60 - last)) & ~((1 << first) - 1) if last > first else 0


def _windows(since: datetime, until: datetime, at: datetime) -> list[Window]:
    return [
        Window(each.node_id, each.region, each.starts_at, each.ends_at or max(until, at))
        for each in Exemption.objects.overlapping(since, until)
    ]


def _exempt(windows: Sequence[Window], node_id: str, region: str, at: datetime, *, back: timedelta) -> bool:
    """Whether the hour of that moment, or the time so far `back` from it, touches a window of the node."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    since = min(hour, at - back)
    return any(
        window.covers(node_id, region) and window.starts_at < hour + _HOUR and window.ends_at > since
        for window in windows
    )


def _some(node_ids: Collection[str] | None, field: str) -> Q:
    return Q() if node_ids is None else Q(**{f"{field}__in": node_ids})


def _of_receipts(start: datetime, node_ids: Collection[str] | None) -> Iterator[tuple[str, Observation]]:
    """Receipts of the day, by acceptance, and forged ones. What a node signed is exempt from nothing."""
    end = start + timedelta(days=1)
    nodes = Node.objects.filter(_some(node_ids, "pk"))
    day = Q(receipts__accepted_at__gte=start, receipts__accepted_at__lt=end)
    counted = (
        nodes.filter(day)
        .order_by()
        .values_list("pk")
        .annotate(total=Count("receipts__id"), failed=Count("receipts__id", filter=Q(receipts__failed=True)))
    )
    for node_id, total, failed in counted:
        yield node_id, Observation(Kind.RECEIPT, failed, total)
    forged = nodes.filter(forged_receipts__received_at__gte=start, forged_receipts__received_at__lt=end)
    for node_id, count in forged.order_by().values_list("pk").annotate(Count("forged_receipts")):
        note = f"{count:,} receipt{'' if count == 1 else 's'} with a forged signature"
        yield node_id, Observation(Kind.FORGERY, count, count, note=note)


def _breaches(
    start: datetime, windows: Sequence[Window], node_ids: Collection[str] | None
) -> dict[str, dict[str, int]]:
    """Quarantines and outages by node, but for those that an exemption excuses."""
    fell = Q(to_status=Phase.QUARANTINE) | Q(to_status=Phase.OFFLINE, reason=Reason.NO_HEARTBEAT)
    transitions = NodeTransition.objects.filter(
        fell, _some(node_ids, "node_id"), at__gte=start, at__lt=start + timedelta(days=1)
    )
    breaches: dict[str, dict[str, int]] = defaultdict(lambda: {"quarantines": 0, "outages": 0})
    for node_id, region, to_status, reason, at in transitions.order_by().values_list(
        "node_id", "node__region", "to_status", "reason", "at"
    ):
        back = _EXCUSABLE.get(reason)
        if back is None or not _exempt(windows, node_id, region, at, back=back):
            breaches[node_id]["quarantines" if to_status == Phase.QUARANTINE else "outages"] += 1
    return breaches
