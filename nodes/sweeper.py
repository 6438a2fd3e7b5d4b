"""Finds silent nodes, missed heartbeats, low reputations, SLO breaches and nodes that a finding concerns.

It runs every few seconds in the worker. The console's own outage takes no node offline: after a start, after
a gap between two runs, after its clock was set back, and after most nodes were silent at once
(nodes/rules/common_silence.py), all deadlines count from that moment (SweeperClock.counting_from).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Coalesce

from jatevo.audit.record import SYSTEM
from jatevo.metrics.facts import FactKind, UptimeFact
from jatevo.metrics.minutes import floor_hour, floor_minute
from jatevo.metrics.models import Outbox
from nodes.actions.challenges import expire_challenge, expire_challenges, expired_challenges
from nodes.actions.exemptions import begin_outage, end_outage, note_outage
from nodes.actions.fraud import relate
from nodes.actions.transition import happen
from nodes.models import Exemption, ExemptionKind, HeartbeatMinute, Node, SweeperClock
from nodes.models.coverage import covers_sql
from nodes.reputation.latency_target import target_params, target_sql
from nodes.rules.common_silence import LastHeard, common_silence, has_left, lasts
from nodes.rules.lifecycle import (
    MISSED_SHARE_TO_QUARANTINE,
    MISSED_WINDOW,
    REPUTATION_FLOOR,
    SLO_WINDOW,
    Event,
    Phase,
    Status,
    reputation_is_low,
)

log = structlog.get_logger(__name__)

EXPIRED_TOGETHER: Final = 100


@dataclass(frozen=True)
class Swept:
    """How many nodes a run changed, by cause."""

    offline: int
    quarantined: int


def sweep(*, at: datetime) -> Swept:
    """One run. It can run anywhere and any number of times, because each transition is made only once."""
    counting_from = _counting_from(at)
    offline = 0
    if _in_outage(at):
        _unanswered(at, counting_from=at)  # what could not be answered in an outage is nobody's fault
    else:
        offline = _silent(at, counting_from)
        _unanswered(at, counting_from=counting_from)
    quarantined = _missed(at, counting_from) + _reputation_low(at) + _slo_breached(at) + relate(at=at)
    kept = timedelta(days=settings.RETENTION_DAYS["heartbeat_minutes"])
    HeartbeatMinute.objects.filter(minute__lt=at - kept).delete()
    return Swept(offline, quarantined)


def start_counting(*, at: datetime) -> None:
    """Notes that the console has just started, so that no deadline counts from before this moment."""
    _counting_from(at)
    SweeperClock.objects.update_or_create(pk=1, defaults={"last_run_at": at, "counting_from": at})


def _counting_from(at: datetime) -> datetime:
    gap = timedelta(seconds=settings.SWEEP_GAP_SECONDS)
    with transaction.atomic():
        clock, _ = SweeperClock.objects.select_for_update().get_or_create(
            pk=1, defaults={"last_run_at": at, "counting_from": at}
        )
        if at - clock.last_run_at > gap:
            note_outage(starts_at=clock.last_run_at, ends_at=at, at=at)
            clock.counting_from = at
        if clock.last_run_at - at > gap:
            # Clocks of two workers differ by less: this one was set back. Otherwise nothing would look like a gap when
            # it is set forward again, and all nodes would look silent.
            clock.last_run_at = clock.counting_from = at
        clock.last_run_at = max(at, clock.last_run_at)
        clock.save(update_fields=["last_run_at", "counting_from"])
    return clock.counting_from


def _in_outage(at: datetime) -> bool:
    """Whether most nodes are silent at once. Records when that begins and ends."""
    deadline = timedelta(seconds=settings.NODE_OFFLINE_AFTER_SECONDS)
    with transaction.atomic():
        clock = SweeperClock.objects.select_for_update().get(pk=1)
        outage = Exemption.objects.filter(kind=ExemptionKind.OUTAGE, ends_at=None).first()
        heard = _last_heard(since=clock.counting_from, at=at)
        if outage is not None:
            if lasts(heard, since=outage.starts_at, at=at, offline_after=deadline):
                return True
            end_outage(outage, at=at)
            clock.counting_from = at
            clock.save(update_fields=["counting_from"])
            log.info("most nodes are heard again", outage=outage.pk)
            return True  # this run's deadlines were counted from before the outage's end
        silence = common_silence(heard, at=at, offline_after=deadline)
        if silence is None:
            return False
        begun = begin_outage(silence, at=at)
        log.error("most nodes fell silent at once", outage=begun.pk, silent=silence.silent, of=silence.active)
        return True


def _last_heard(*, since: datetime, at: datetime) -> list[LastHeard]:
    """The active nodes. A node that has not left counts as silent from `since` at the earliest."""
    active = Node.objects.filter(status=Status.ACTIVE)
    found = active.values_list("org_id", Coalesce("last_heartbeat_at", "status_since"))
    return [
        LastHeard(org, heard_at if has_left(heard_at, at=at) else max(heard_at, since))
        for org, heard_at in found
    ]


@contextmanager
def _one_node(node_id: str) -> Iterator[None]:
    """Logs an error with one node and lets the run continue with the others."""
    try:
        yield
    except (OperationalError, InterfaceError):
        raise  # the database does not answer, so the others would fail too
    except Exception:
        log.exception("a node cannot be judged", node_id=node_id)


def _silent(at: datetime, counting_from: datetime) -> int:
    deadline = timedelta(seconds=settings.NODE_OFFLINE_AFTER_SECONDS)
    if at - counting_from < deadline:
        return 0
    moved = 0
    overdue = Node.objects.overdue(heard_before=at - deadline)
    for node_id in list(overdue.values_list("pk", flat=True)):
        with _one_node(node_id), transaction.atomic():
            # checked again under the row's lock, because a heartbeat may have come in the meantime
            still = overdue.filter(pk=node_id).select_for_update(no_key=True)
            row = still.values_list("last_heartbeat_at", "beat_minute", "beats").first()
            moved += row is not None and _take_offline(node_id, *row, at=at)
    return moved


def _unanswered(at: datetime, *, counting_from: datetime) -> None:
    expired = expired_challenges(at)
    for first in range(0, len(expired), EXPIRED_TOGETHER):
        some = expired[first : first + EXPIRED_TOGETHER]
        try:
            expire_challenges([each for each, _ in some], at=at, counting_from=counting_from)
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # because of one of them
            for challenge_id, node_id in some:
                with _one_node(node_id):
                    expire_challenge(challenge_id, at=at, counting_from=counting_from)


def _take_offline(
    node_id: str, heard_at: datetime | None, minute: datetime | None, beats: int, *, at: datetime
) -> bool:
    evidence = {"last_heartbeat_at": str(heard_at), "deadline_s": settings.NODE_OFFLINE_AFTER_SECONDS}
    # a maintenance that has ended in the meantime does not cover the silence
    own = Exemption.objects.filter(node_id=node_id, kind=ExemptionKind.MAINTENANCE)
    maintenance = own.covering(at).first()
    event = Event.SILENT
    if maintenance is not None:
        event = Event.SILENT_IN_MAINTENANCE
        evidence["announced"] = maintenance.message
    outcome = happen(node_id, event, by=SYSTEM, at=at, evidence=evidence)
    if outcome.move is not None and minute is not None:
        # no later heartbeat will complete this minute, so it is completed here
        fact = UptimeFact(node_id=node_id, minute=int(minute.timestamp()), up=True, beats=beats)
        Outbox.objects.create(kind=FactKind.UPTIME, body=fact.to_body())
    return outcome.move is not None


# Received against expected heartbeats in the last whole hour, for nodes that were active all through it. A
# minute counts for at most its expected heartbeats, so that a burst does not make up for silence. Exempt
# minutes do not count. They are looked up only for nodes that missed too many heartbeats and are not exempt
# all along.
_MISSED_SQL = f"""
WITH sparse AS MATERIALIZED (
    SELECT n.id, n.region
    FROM nodes_node n
    LEFT JOIN nodes_heartbeatminute m ON m.node_id = n.id AND m.minute >= %(since)s AND m.minute < %(until)s
    WHERE n.status = 'active' AND n.status_since <= %(since)s AND NOT EXISTS (
        SELECT FROM nodes_exemption e
        WHERE e.starts_at <= %(since)s AND (e.ends_at IS NULL OR e.ends_at >= %(until)s)
          AND {covers_sql("e", "n")})
    GROUP BY n.id
    HAVING sum(LEAST(COALESCE(m.beats, 0), %(per_minute)s)) < %(least)s
)
SELECT s.id, sum(LEAST(COALESCE(m.beats, 0), %(per_minute)s)), count(*)
FROM sparse s
CROSS JOIN generate_series(%(since)s, %(until)s - interval '1 minute', interval '1 minute') AS judged
LEFT JOIN nodes_heartbeatminute m ON m.node_id = s.id AND m.minute = judged
WHERE NOT EXISTS (
    SELECT FROM nodes_exemption e
    WHERE e.starts_at < judged + interval '1 minute' AND (e.ends_at IS NULL OR e.ends_at > judged)
      AND {covers_sql("e", "s")})
GROUP BY s.id
HAVING sum(LEAST(COALESCE(m.beats, 0), %(per_minute)s)) < %(least)s * count(*) / %(minutes)s
   AND 2 * count(*) > %(minutes)s
"""  # noqa: S608 - a constant


def _missed(at: datetime, counting_from: datetime) -> int:
    """Nodes that missed too many heartbeats.

    A node that was exempt for half of the hour or more is skipped.
    """
    # The last minute is still being counted. It is stored in the node's own row.
    until = floor_minute(at) - timedelta(minutes=1)
    since = until - MISSED_WINDOW
    if counting_from > since:
        return 0
    minutes_in_all = MISSED_WINDOW // timedelta(minutes=1)
    expected = MISSED_WINDOW.total_seconds() / settings.HEARTBEAT_INTERVAL_SECONDS
    with connection.cursor() as cursor:
        cursor.execute(
            _MISSED_SQL,
            {
                "since": since,
                "until": until,
                "minutes": minutes_in_all,
                "per_minute": ceil(60 / settings.HEARTBEAT_INTERVAL_SECONDS),
                "least": expected * (1 - MISSED_SHARE_TO_QUARANTINE),
            },
        )
        sparse = cursor.fetchall()
    moved = 0
    for node_id, received, minutes in sparse:
        evidence = {
            "received": int(received),
            "expected": round(expected * minutes / minutes_in_all),
            "from": since.isoformat(),
            "to": until.isoformat(),
        }
        with _one_node(node_id):
            outcome = happen(node_id, Event.HEARTBEATS_MISSED, by=SYSTEM, at=at, evidence=evidence)
            moved += outcome.state.phase is Phase.QUARANTINE and outcome.move is not None
    return moved


def _reputation_low(at: datetime) -> int:
    moved = 0
    under = Node.objects.filter(status=Status.ACTIVE, reputation__lt=REPUTATION_FLOOR)
    for node_id, reputation, pardoned in under.values_list("pk", "reputation", "pardoned_reputation"):
        if not reputation_is_low(reputation, pardoned=pardoned):
            continue
        evidence = {"reputation": str(reputation), "floor": REPUTATION_FLOOR}
        if pardoned is not None:
            evidence["pardoned_at"] = str(pardoned)
        with _one_node(node_id):
            outcome = happen(node_id, Event.REPUTATION_LOW, by=SYSTEM, at=at, evidence=evidence)
            moved += outcome.move is not None
    return moved


# Latency probes of nodes that were active all through the window. Probes at exempt times do not count. The
# counts by hour first narrow the search to nodes that were too slow often enough.
_SLO_SQL = f"""
WITH often_slow AS MATERIALIZED (
    SELECT n.id, n.region, {target_sql("n")} AS target_ms
    FROM nodes_node n
    JOIN nodes_nodehour h ON h.node_id = n.id AND h.hour >= %(first_hour)s
    WHERE n.status = 'active' AND n.status_since <= %(since)s
    GROUP BY n.id
    HAVING 2 * sum(h.latency_slow) > %(least)s
)
SELECT s.id, s.target_ms, count(*), count(*) FILTER (WHERE p.p95_ms > s.target_ms),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY p.p95_ms), max(p.p95_ms)
FROM often_slow s
JOIN nodes_probe p ON p.node_id = s.id AND p.received_at > %(since)s AND p.received_at <= %(at)s
WHERE p.counts_as = 'latency' AND p.ok AND p.p95_ms IS NOT NULL AND NOT EXISTS (
    SELECT FROM nodes_exemption e
    WHERE e.starts_at <= p.received_at AND (e.ends_at IS NULL OR e.ends_at > p.received_at)
      AND {covers_sql("e", "s")})
GROUP BY s.id, s.target_ms
HAVING count(*) >= %(least)s AND 2 * count(*) FILTER (WHERE p.p95_ms > s.target_ms) > count(*)
"""  # noqa: S608 - a constant


def _slo_breached(at: datetime) -> int:
    since = at - SLO_WINDOW
    least = settings.SLO_LEAST_PROBES
    asked = {"at": at, "since": since, "first_hour": floor_hour(since), "least": least, **target_params()}
    with connection.cursor() as cursor:
        cursor.execute(_SLO_SQL, asked)
        slow = cursor.fetchall()
    moved = 0
    for node_id, target_ms, probes, over, median_ms, worst_ms in slow:
        evidence = {
            "target_ms": target_ms,
            "probes": probes,
            "over_target": over,
            "median_p95_ms": round(median_ms, 1),
            "worst_p95_ms": round(worst_ms, 1),
            "from": since.isoformat(),
            "to": at.isoformat(),
        }
        with _one_node(node_id):
            outcome = happen(node_id, Event.SLO_BREACHED, by=SYSTEM, at=at, evidence=evidence)
            moved += outcome.move is not None
    return moved
