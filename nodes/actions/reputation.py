"""Computing reputations: evidence is stored by day, and R is computed from the days."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import structlog
from django.db import connection, transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from nodes.models import Node, PendingJudgement, ReputationClock
from nodes.reputation.days import KINDS, as_day, evidence_of, judged_until
from nodes.reputation.evidence import observe, roll_up_minutes
from nodes.reputation.formula import WINDOW_DAYS, EvidenceDay, SubScore, day_scores, r_alone
from nodes.rules.lifecycle import REPUTATION_FLOOR

log = structlog.get_logger(__name__)

NODES_AT_ONCE = 500
# Evidence may arrive late, so each run looks this far back before the previous run.
LATE = timedelta(hours=2)


def recompute(*, at: datetime, node_ids: Collection[str] | None = None) -> int:
    """Updates the evidence since the last run over all nodes, and R. Returns how many R's changed.

    `node_ids` limits it to some nodes. After a pause, every day since the last run is recomputed; heartbeats
    only as far back as their minutes are kept (settings.RETENTION_DAYS). It can run repeatedly and
    concurrently, because the result depends only on the stored evidence.
    """
    since = min(judged_until(at=at), at) - LATE
    roll_up_minutes(since=since, node_ids=node_ids)
    changed = recompute_days(since=since, until=at, at=at, node_ids=node_ids)
    if node_ids is None:
        clock, new = ReputationClock.objects.get_or_create(pk=1, defaults={"last_run_at": at})
        if not new:
            ReputationClock.objects.filter(pk=clock.pk, last_run_at__lt=at).update(last_run_at=at)
    return changed


def recompute_days(
    *, since: datetime, until: datetime, at: datetime, node_ids: Collection[str] | None
) -> int:
    """Recomputes the days from `since` to `until`, within the window that reputations cover."""
    today = _day_of(at)
    day = max(_day_of(since), today - timedelta(days=WINDOW_DAYS - 1))
    while day <= min(_day_of(until), today):
        _store(day, observe(day, at=at, node_ids=node_ids), at=at, node_ids=node_ids)
        day += timedelta(days=1)
    return _score(at=at, node_ids=node_ids)


def judge_pending(*, at: datetime) -> int:
    """Recomputes the days affected by changes of exemptions (PendingJudgement).

    Returns how many rows there were.

    A row is deleted when its days are done. Two concurrent runs may do a row twice, which is harmless.
    """
    done = 0
    for each in PendingJudgement.objects.order_by("pk"):
        nodes = Node.objects.filter(region=each.region) if each.region else Node.objects.all()
        node_ids = list(nodes.values_list("pk", flat=True))
        recompute_days(since=each.since, until=each.until, at=at, node_ids=node_ids)
        each.delete()
        done += 1
    return done


def recompute_reputation(*, node: Node, by: User, at: datetime) -> Decimal | None:
    """Recomputes R of one node on demand. Returns R, or None if there is no evidence yet."""
    with transaction.atomic():
        recompute(at=at, node_ids=[node.pk])
        node.refresh_from_db(fields=["reputation"])
        record(
            "node.recompute_reputation",
            by=actor_of(by),
            subject_kind="node",
            subject_id=node.pk,
            org_id=node.org_id,
            reputation=str(node.reputation),
        )
    return node.reputation


_UPSERT = """
INSERT INTO nodes_reputationday (node_id, day, reliability, correctness, efficiency, policy, evidence, computed_at)
SELECT node_id, %(day)s, reliability, correctness, efficiency, policy, evidence, %(at)s
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS t (node_id varchar, reliability numeric, correctness numeric, efficiency numeric, policy numeric, evidence jsonb)
ORDER BY node_id
ON CONFLICT (node_id, day) DO UPDATE SET
    reliability = excluded.reliability, correctness = excluded.correctness, efficiency = excluded.efficiency,
    policy = excluded.policy, evidence = excluded.evidence, computed_at = excluded.computed_at
WHERE nodes_reputationday.evidence <> excluded.evidence OR %(touch)s
"""
# For a day whose evidence has since been exempted entirely.
_FORGET = """
DELETE FROM nodes_reputationday
WHERE day = %(day)s AND (%(all)s OR node_id = ANY(%(nodes)s))
    AND NOT EXISTS (SELECT FROM unnest(%(observed)s::varchar[]) AS t (id) WHERE t.id = node_id)
"""
# One JSON document per node, because ten thousand nodes have 140,000 days.
_DAYS = """
SELECT node_id, jsonb_object_agg(day::text, evidence)::text FROM nodes_reputationday
WHERE node_id = ANY(%(node_ids)s) AND day > %(before)s GROUP BY node_id
"""


def _store(
    day: date, observed: Mapping[str, EvidenceDay], *, at: datetime, node_ids: Collection[str] | None
) -> None:
    """Stores a day's evidence.

    `computed_at` is set on changed rows, and on all rows of the given `node_ids`.
    """
    touch = node_ids is not None
    with connection.cursor() as cursor:
        for part in _batches(sorted(observed)):
            rows = [_row(node_id, observed[node_id]) for node_id in part]
            cursor.execute(
                _UPSERT, {"day": day, "at": at, "rows": orjson.dumps(rows).decode(), "touch": touch}
            )
        named: dict[str, Any] = {"all": node_ids is None, "nodes": list(node_ids or ())}
        cursor.execute(_FORGET, {"day": day, "observed": list(observed), **named})


def _row(node_id: str, day: EvidenceDay) -> dict[str, Any]:
    scores = day_scores(day)
    parts = {sub.value: None if scores[sub] is None else str(scores[sub]) for sub in SubScore}
    return {"node_id": node_id, "evidence": evidence_of(day), **parts}


def _score(*, at: datetime, node_ids: Collection[str] | None) -> int:
    today = _day_of(at)
    nodes = Node.objects.order_by("pk") if node_ids is None else Node.objects.filter(pk__in=node_ids)
    changed = 0
    for part in _batches(list(nodes.values_list("pk", flat=True))):
        with connection.cursor() as cursor:
            cursor.execute(_DAYS, {"node_ids": part, "before": today - timedelta(days=WINDOW_DAYS)})
            seen = cursor.fetchall()
        known: dict[str, Decimal | None] = {}
        unreadable = set()
        for node_id, days in seen:
            try:
                known[node_id] = _r_of(orjson.loads(days), today)
            except (LookupError, TypeError, ValueError, ArithmeticError):
                log.exception("a node's evidence cannot be read", node_id=node_id)
                unreadable.add(node_id)
        # a node without any evidence left has no R; a node whose evidence cannot be read keeps its R
        changed += _write({node_id: known.get(node_id) for node_id in part if node_id not in unreadable})
    return changed


def _r_of(days: Mapping[str, Mapping[str, Any]], today: date) -> Decimal | None:
    """R from a node's evidence, keyed by ISO date."""
    observations = [
        (KINDS[kind], said["failed"], said["total"])
        for evidence in days.values()
        for kind, said in evidence.items()
        if kind in KINDS
    ]
    return r_alone(
        observations,
        lambda: [as_day(date.fromisoformat(day), evidence) for day, evidence in days.items()],
        today=today,
    )


def _write(scores: Mapping[str, Decimal | None]) -> int:
    """Writes the scores in order of node ids, so that concurrent runs wait for each other and do not
    deadlock.

    Probation ends when R is back above the floor.
    """
    ids = sorted(scores)
    if not ids:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT id FROM nodes_node WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [ids])
        cursor.execute(
            "UPDATE nodes_node n SET reputation = t.r,"
            " pardoned_reputation = CASE WHEN t.r >= %s THEN NULL ELSE n.pardoned_reputation END"
            " FROM unnest(%s::varchar[], %s::numeric[]) AS t (id, r)"
            " WHERE n.id = t.id AND n.reputation IS DISTINCT FROM t.r",
            [REPUTATION_FLOOR, ids, [scores[node_id] for node_id in ids]],
        )
        return cursor.rowcount


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), NODES_AT_ONCE):
        yield list(ids[start : start + NODES_AT_ONCE])


def _day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()
