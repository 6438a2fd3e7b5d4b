"""Reads a day's evidence from PostgreSQL, as the observations that nodes/reputation/formula.py scores.

Each query covers many nodes. Minutes are bits of an hour: heard, expected and exempt minutes are masks, and
PostgreSQL counts the bits that remain. Probes are counted by the hour. In an hour that an exemption touches,
the probes of its other minutes are counted one by one. An outage, or a quarantine because the node could not
be reached, does not count if it began in an exempt time. Receipts and false answers are never exempt.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Case, Count, DateTimeField, OuterRef, Q, Subquery, When

from jatevo.metrics.minutes import ALL_MINUTES, HOUR, floor_minute, hours_touched, minutes_of_hour
from jatevo.metrics.queries import SETTLED_AFTER
from jatevo.web.error_types import ErrorType
from nodes.models import Exemption, ExemptionKind, Node, NodeTransition, Probe
from nodes.models.coverage import covered_nodes_sql, covers
from nodes.reputation.formula import (
    OUTAGE_TENTHS,
    QUARANTINE_TENTHS,
    EvidenceDay,
    Observation,
    ObservationKind,
    conduct_tenths,
)
from nodes.reputation.latency_target import target_params, target_sql
from nodes.rules.lifecycle import MISSED_WINDOW, PROBE_FAILURES_TO_QUARANTINE, Phase, Reason
from nodes.rules.probes import FALSE_ANSWERS, ProbeKind

# How long before a transition its cause can lie. The sweeper judges only complete minutes.
_LOOK_BACK = MISSED_WINDOW + timedelta(minutes=2)

# `pardon` has the exempt minutes by node, by region, or for all (null and ''), and whether they excuse
# probes.
_PARDONED = f"""
WITH pardon AS (
    SELECT * FROM unnest(%(pardon_hours)s::timestamptz[], %(pardon_nodes)s::varchar[], %(pardon_regions)s::varchar[],
                         %(pardon_masks)s::bigint[], %(pardon_probes)s::boolean[])
        AS t (hour, node_id, region, mask, probes)
), pardoned AS (
    SELECT node_id, hour, bit_or(mask) AS mask, bit_or(CASE WHEN probes THEN mask ELSE 0 END) AS probe_mask
    FROM (
        {covered_nodes_sql("pardon", "e.hour, e.mask, e.probes")}
    ) AS touched
    WHERE %(all)s OR node_id = ANY(%(nodes)s)
    GROUP BY node_id, hour
)
"""  # noqa: S608 - a constant

# `clock` has the day's hours with the minutes that are over. A node is expected from the minute in which it
# was first heard. Probes of hours that an exemption touches are left to the next statement.
_SQL = f"""{_PARDONED}, clock AS (
    SELECT * FROM unnest(%(hours)s::timestamptz[], %(masks)s::bigint[]) AS t (hour, mask)
), minutes AS (
    SELECT n.id AS node_id, h.*, COALESCE(p.mask, 0) AS exempt, COALESCE(p.probe_mask, 0) AS probe_exempt,
           CASE WHEN c.hour <= n.first_heard_at
                THEN c.mask & ~((1::bigint << extract(minute FROM n.first_heard_at AT TIME ZONE 'UTC')::int) - 1)
                ELSE c.mask END AS due
    FROM nodes_node n
    JOIN clock c ON n.first_heard_at < c.hour + interval '1 hour'
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
       COALESCE(sum(health_passed) FILTER (WHERE probe_exempt = 0), 0),
       COALESCE(sum(health_failed) FILTER (WHERE probe_exempt = 0), 0),
       COALESCE(sum(audits_passed) FILTER (WHERE probe_exempt = 0), 0),
       COALESCE(sum(audits_failed) FILTER (WHERE probe_exempt = 0), 0),
       COALESCE(sum(latency_passed) FILTER (WHERE probe_exempt = 0), 0),
       COALESCE(sum(latency_slow) FILTER (WHERE probe_exempt = 0), 0)
FROM minutes GROUP BY node_id
"""  # noqa: S608 - a constant

_FALSE_ANSWERS = ", ".join(f"'{fault}'" for fault in FALSE_ANSWERS)
# For hours that an exemption touches: the probes outside of the exempt minutes, and false answers at any
# minute. Hours that are entirely exempt are read only for false answers.
_PROBES_OF_TOUCHED_HOURS = f"""{_PARDONED}
SELECT p.node_id, sum(health_passed), sum(health_failed + false_health), sum(audits_passed),
       sum(audits_failed + false_audits),
       sum(latency_passed), sum(latency_slow)
FROM pardoned p
JOIN nodes_node n ON n.id = p.node_id AND n.first_heard_at < p.hour + interval '1 hour'
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE kind = 'health' AND ok) AS health_passed,
           count(*) FILTER (WHERE kind = 'health' AND NOT ok) AS health_failed,
           count(*) FILTER (WHERE kind = 'audit' AND ok) AS audits_passed,
           count(*) FILTER (WHERE kind = 'audit' AND NOT ok) AS audits_failed,
           count(*) FILTER (WHERE kind = 'latency' AND within) AS latency_passed,
           count(*) FILTER (WHERE kind = 'latency' AND NOT within) AS latency_slow
    FROM (
        SELECT counts_as AS kind, ok, ok AND COALESCE(p95_ms <= {target_sql("n")}, false) AS within FROM nodes_probe
        WHERE p.probe_mask <> %(whole)s AND node_id = p.node_id
            AND received_at >= p.hour AND received_at < p.hour + interval '1 hour'
            AND (p.probe_mask >> extract(minute FROM received_at AT TIME ZONE 'UTC')::int) & 1 = 0
    ) AS judged
) AS counted
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE counts_as = 'audit') AS false_audits,
           count(*) FILTER (WHERE counts_as = 'health') AS false_health
    FROM nodes_probe
    WHERE node_id = p.node_id AND fault IN ({_FALSE_ANSWERS})
        AND received_at >= p.hour AND received_at < p.hour + interval '1 hour'
        AND (p.probe_mask >> extract(minute FROM received_at AT TIME ZONE 'UTC')::int) & 1 = 1
) AS answered_wrongly
WHERE p.probe_mask <> 0
GROUP BY p.node_id
"""  # noqa: S608 - a constant

_ROLL_UP = """
INSERT INTO nodes_nodehour (node_id, hour, heard)
SELECT node_id, date_trunc('hour', minute, 'UTC'), bit_or(1::bigint << extract(minute FROM minute AT TIME ZONE 'UTC')::int)
FROM (
    SELECT node_id, minute FROM nodes_heartbeatminute
    WHERE minute >= %(since)s AND beats > 0 AND (%(all)s OR node_id = ANY(%(nodes)s))
    UNION ALL
    SELECT id, beat_minute FROM nodes_node
    WHERE beat_minute >= %(since)s AND beats > 0 AND (%(all)s OR id = ANY(%(nodes)s))
) AS heard
GROUP BY 1, 2
ORDER BY 1, 2
ON CONFLICT (node_id, hour) DO UPDATE SET heard = nodes_nodehour.heard | excluded.heard
WHERE nodes_nodehour.heard | excluded.heard <> nodes_nodehour.heard
"""


@dataclass(frozen=True)
class ExemptWindow:
    """The parts of an exemption that matter here. It covers `node_id`, `region`, or all nodes (None and '').

    A node's own maintenance counts only from when it was announced. `excuses_probes` is false for a time in
    which the console itself was away: no probe could arrive then, and probes stored near the gap are real
    measurements. It is true for an outage noted while it lasted, because then the network between console and
    nodes was broken.
    """

    node_id: str | None
    region: str
    starts_at: datetime
    ends_at: datetime
    announced_at: datetime | None
    excuses_probes: bool

    def covers(self, node_id: str, region: str) -> bool:
        return covers(self.node_id, self.region, node_id, region)

    def excuses(self, *, since: datetime, at: datetime) -> bool:
        """Whether the exemption overlaps the time from `since` to `at` and was announced by then."""
        known = self.announced_at is None or self.announced_at <= at
        return known and self.starts_at <= at and self.ends_at > since


def roll_up_minutes(*, since: datetime, node_ids: Collection[str] | None = None) -> int:
    """Adds the heartbeat minutes since then to the nodes' hours. Returns how many hours changed."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_UP, {"since": since, **_named(node_ids)})
        return cursor.rowcount


def observe(day: date, *, at: datetime, node_ids: Collection[str] | None = None) -> dict[str, EvidenceDay]:
    """The evidence of the day (UTC) for each node, or for `node_ids`. Nodes without evidence are left out."""
    start = datetime.combine(day, time(), UTC)
    end = min(start + timedelta(days=1), at - SETTLED_AFTER)
    if end <= start:
        return {}
    windows = _windows(start - _LOOK_BACK, start + timedelta(days=1), at)
    found: dict[str, list[Observation]] = defaultdict(list)
    touched = _probes_of_touched_hours(start, end, windows, node_ids)
    for node_id, due, missed, exempt, *probes in _minutes_and_probes(start, end, windows, node_ids):
        found[node_id] += _of_minutes(due, missed, exempt)
        found[node_id] += _of_probes(*map(sum, zip(probes, touched.get(node_id, _NO_PROBES), strict=True)))
    for node_id, observation in _of_receipts(start, node_ids):
        found[node_id].append(observation)
    breaches = _breaches(start, windows, node_ids)
    for node_id in breaches:
        found[node_id] += ()  # also nodes without any other evidence
    days = {}
    for node_id, observations in found.items():
        due = next((each.total for each in observations if each.kind is ObservationKind.SILENCE), 0)
        if due or node_id in breaches:
            observations.append(_of_conduct(breaches.get(node_id, {}), due))
        kept = tuple(each for each in observations if each.total or each.exempt)
        if kept:
            days[node_id] = EvidenceDay(day, kept)
    return days


def _of_minutes(due: int, missed: int, exempt: int) -> list[Observation]:
    return [Observation(ObservationKind.SILENCE, int(missed), int(due), int(exempt))]


def _of_probes(
    health_passed: int,
    health_failed: int,
    audits_passed: int,
    audits_failed: int,
    latency_passed: int,
    latency_slow: int,
) -> list[Observation]:
    return [
        Observation(ObservationKind.HEALTH, int(health_failed), int(health_passed + health_failed)),
        Observation(ObservationKind.AUDIT, int(audits_failed), int(audits_passed + audits_failed)),
        Observation(ObservationKind.LATENCY, int(latency_slow), int(latency_passed + latency_slow)),
    ]


def _of_conduct(breaches: dict[str, int], minutes_due: int) -> Observation:
    """The observation for Policy.

    A day counts for as long as the node was expected, but at least for its breaches.
    """
    quarantines, outages = breaches.get("quarantines", 0), breaches.get("outages", 0)
    tenths = min(10, quarantines * QUARANTINE_TENTHS + outages * OUTAGE_TENTHS)
    said = []
    if quarantines:
        said.append(f"quarantined {_times(quarantines)}")
    if outages:
        said.append(f"offline without announced maintenance {_times(outages)}")
    total = 10 if tenths else conduct_tenths(minutes_due)
    return Observation(ObservationKind.CONDUCT, tenths, total, note=", ".join(said).capitalize())


_NO_PROBES = (0,) * 6


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _minutes_and_probes(
    start: datetime, end: datetime, windows: Sequence[ExemptWindow], node_ids: Collection[str] | None
) -> list[tuple[Any, ...]]:
    hours = list(hours_touched(start, end))
    asked = {
        "hours": hours,
        "masks": [minutes_of_hour(hour, start, floor_minute(end)) for hour in hours],
        **_pardons(hours, windows),
        **_named(node_ids),
    }
    with connection.cursor() as cursor:
        cursor.execute(_SQL, asked)
        return cursor.fetchall()


def _probes_of_touched_hours(
    start: datetime, end: datetime, windows: Sequence[ExemptWindow], node_ids: Collection[str] | None
) -> dict[str, tuple[int, ...]]:
    """The probes by node that count although an exemption touches their hour."""
    excusing = [window for window in windows if window.excuses_probes]
    if not excusing:
        return {}
    asked = {
        **target_params(),
        "whole": ALL_MINUTES,
        **_pardons(list(hours_touched(start, end)), excusing),
        **_named(node_ids),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PROBES_OF_TOUCHED_HOURS, asked)
        return {node_id: tuple(counts) for node_id, *counts in cursor.fetchall()}


def _pardons(hours: Sequence[datetime], windows: Sequence[ExemptWindow]) -> dict[str, list[Any]]:
    """The minutes of the windows by hour, as the columns of `pardon`."""
    pardons = [
        (hour, window, minutes_of_hour(hour, window.starts_at, window.ends_at))
        for window in windows
        for hour in hours
        if window.starts_at < hour + HOUR and window.ends_at > hour
    ]
    return {
        "pardon_hours": [hour for hour, _, _ in pardons],
        "pardon_nodes": [window.node_id for _, window, _ in pardons],
        "pardon_regions": [window.region for _, window, _ in pardons],
        "pardon_masks": [mask for _, _, mask in pardons],
        "pardon_probes": [window.excuses_probes for _, window, _ in pardons],
    }


def _named(node_ids: Collection[str] | None) -> dict[str, Any]:
    return {"all": node_ids is None, "nodes": list(node_ids or ())}


def _windows(since: datetime, until: datetime, at: datetime) -> list[ExemptWindow]:
    return [
        ExemptWindow(
            each.node_id,
            each.region,
            each.starts_at,
            each.ends_at or max(until, at),
            each.created_at if each.kind == ExemptionKind.MAINTENANCE else None,
            each.kind != ExemptionKind.OUTAGE or each.ends_at is None or each.created_at < each.ends_at,
        )
        for each in Exemption.objects.overlapping(since, until)
    ]


def _blamed_since(
    reason: str, at: datetime, *, first_failed: datetime | None, fault: object
) -> datetime | None:
    """When the cause of the transition began, if the node could not be reached.

    None if nothing excuses the cause.
    """
    match reason:
        case Reason.NO_HEARTBEAT:
            return at - timedelta(seconds=settings.NODE_OFFLINE_AFTER_SECONDS)
        case Reason.PROBES_FAILED:
            return max(first_failed or at, at - MISSED_WINDOW)
        case Reason.HEARTBEATS_MISSED:
            return at - _LOOK_BACK
        case Reason.AUDIT_FAILED if fault and fault not in FALSE_ANSWERS:
            return at
        case _:
            return None


def _some(node_ids: Collection[str] | None, field: str) -> Q:
    return Q() if node_ids is None else Q(**{f"{field}__in": node_ids})


def _of_receipts(start: datetime, node_ids: Collection[str] | None) -> Iterator[tuple[str, Observation]]:
    """The day's receipts, by time of acceptance, and its forged receipts. Neither is ever exempt."""
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
        yield node_id, Observation(ObservationKind.RECEIPT, failed, total)
    forged = nodes.filter(
        refused_receipts__reason=ErrorType.INVALID_SIGNATURE,
        refused_receipts__received_at__gte=start,
        refused_receipts__received_at__lt=end,
    )
    for node_id, count in forged.order_by().values_list("pk").annotate(Count("refused_receipts")):
        note = f"{count:,} receipt{'' if count == 1 else 's'} with a forged signature"
        yield node_id, Observation(ObservationKind.FORGERY, count, count, note=note)


def _breaches(
    start: datetime, windows: Sequence[ExemptWindow], node_ids: Collection[str] | None
) -> dict[str, dict[str, int]]:
    """Quarantines and outages by node, without those that an exemption excuses.

    A quarantine for low reputation does not count, since it would punish a second time for what lowered R.
    """
    fell = Q(to_status=Phase.QUARANTINE) & ~Q(reason=Reason.REPUTATION_LOW)
    silent = Q(to_status=Phase.OFFLINE, reason=Reason.NO_HEARTBEAT)
    transitions = NodeTransition.objects.filter(
        fell | silent, _some(node_ids, "node_id"), at__gte=start, at__lt=start + timedelta(days=1)
    )
    failed = Probe.objects.filter(
        node=OuterRef("node"), counts_as=ProbeKind.HEALTH, ok=False, received_at__lte=OuterRef("at")
    )
    nth = PROBE_FAILURES_TO_QUARANTINE
    first = failed.order_by("-received_at").values("received_at")[nth - 1 : nth]
    blamed = transitions.annotate(
        first_failed=Case(
            When(reason=Reason.PROBES_FAILED, then=Subquery(first)), output_field=DateTimeField()
        )
    )
    breaches: dict[str, dict[str, int]] = defaultdict(lambda: {"quarantines": 0, "outages": 0})
    for node_id, region, to_status, reason, at, first_failed, fault in blamed.order_by().values_list(
        "node_id", "node__region", "to_status", "reason", "at", "first_failed", "evidence__fault"
    ):
        since = _blamed_since(reason, at, first_failed=first_failed, fault=fault)
        if since is None or not any(
            window.covers(node_id, region) and window.excuses(since=since, at=at) for window in windows
        ):
            breaches[node_id]["quarantines" if to_status == Phase.QUARANTINE else "outages"] += 1
    return breaches
