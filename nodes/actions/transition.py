"""The only code that changes a node's status."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import structlog
from django.db import transaction
from django.db.models import Case, F, When

from jatevo.audit.record import Actor, record
from jatevo.web.postgresql.columns import texts
from jatevo.web.postgresql.statements import fetch
from nodes.actions.errors import UnknownNode
from nodes.models import Node, NodeTransition
from nodes.rules.lifecycle import (
    FRAUD,
    REPUTATION_FLOOR,
    Event,
    LifecycleState,
    Move,
    Phase,
    Reason,
    Status,
    StepOutcome,
    step,
)

log = structlog.get_logger(__name__)

_STATE_FIELDS = ("status", "probing_since", "failed_probes", "passed_audits", "fraud")


def happen(
    node_id: str,
    event: Event,
    *,
    by: Actor,
    at: datetime,
    reason: str = "",
    evidence: dict[str, Any] | None = None,
) -> StepOutcome:
    """Applies an event to a node, and records the transition if there is one.

    The UPDATE is conditional on the state that the decision was based on. Of several concurrent workers one
    succeeds, and the others decide again on the new state. Raises UnknownNode.
    """
    while True:
        with transaction.atomic():
            node = (
                Node.objects.filter(pk=node_id).only("id", "org_id", "status_reason", *_STATE_FIELDS).first()
            )
            if node is None:
                raise UnknownNode(f"There is no node {node_id}.")
            before = node.lifecycle_state
            outcome = step(before, event)
            marked_as_fraud = outcome.move is None and _changes_fraud(node, event)
            if outcome.state == before and outcome.move is None and not marked_as_fraud:
                return outcome
            unchanged = Node.objects.filter(
                pk=node_id,
                **{field: getattr(node, field) for field in _STATE_FIELDS if field != "probing_since"},
            ).filter(probing_since__isnull=node.probing_since is None)
            columns = _columns(before, outcome, at)
            if marked_as_fraud:
                columns["status_reason"] = FRAUD[event]
            if unchanged.update(**columns):
                if marked_as_fraud:
                    _record_fraud(node, event, by=by, evidence=evidence or {})
                if outcome.move is not None:
                    _record(node, before, outcome, by=by, at=at, reason=reason, evidence=evidence or {})
                return outcome


@dataclass(frozen=True)
class Happening:
    """An event at a node, which is none of FRAUD, with its evidence."""

    node_id: str
    event: Event
    evidence: dict[str, Any]


def happen_together(happenings: Sequence[Happening], *, by: Actor, at: datetime) -> dict[str, Status]:
    """Applies events to many nodes, as `happen` does one by one, in their order for each node. Returns their statuses.

    Nodes that are deleted meanwhile are left out. Events take a few statements, however many nodes there are, but for
    those that begin or end a quarantine.
    """
    with transaction.atomic():
        ids = [each.node_id for each in happenings]
        locked = Node.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
        nodes = {node.pk: node for node in locked.only("id", *_STATE_FIELDS)}
        statuses = {node.pk: Status(node.status) for node in nodes.values()}
        counted: dict[tuple[int, int], list[str]] = defaultdict(list)
        moved: dict[tuple[Phase, Move], list[Happening]] = defaultdict(list)
        alone = []
        times = Counter(ids)
        for each in happenings:
            if each.node_id not in nodes:
                continue  # it was deleted just now
            before = nodes[each.node_id].lifecycle_state
            outcome = step(before, each.event)
            move = outcome.move
            about_quarantine = move is not None and Phase.QUARANTINE in (before.phase, move.to)
            if times[each.node_id] > 1 or about_quarantine:
                alone.append(each)
            elif move is not None:
                moved[before.phase, move].append(each)
            elif outcome.state != before:
                counted[outcome.state.failed_probes, outcome.state.passed_audits].append(each.node_id)
        for (failed, passed), some in counted.items():
            Node.objects.filter(pk__in=some).update(failed_probes=failed, passed_audits=passed)
        for (phase, move), its in moved.items():
            statuses |= dict.fromkeys(
                (each.node_id for each in its), _move_together(phase, move, its, by, at)
            )
        for each in alone:
            outcome = happen(each.node_id, each.event, by=by, at=at, evidence=each.evidence)
            statuses[each.node_id] = outcome.state.phase.status
    return statuses


def _move_together(phase: Phase, move: Move, its: Sequence[Happening], by: Actor, at: datetime) -> Status:
    """The same move of many nodes, which are locked and which it leads neither into quarantine nor out of it."""
    before, after = LifecycleState(phase), LifecycleState(move.to)
    ids = [each.node_id for each in its]
    Node.objects.filter(pk__in=ids).update(**_columns(before, StepOutcome(after, move), at))
    NodeTransition.objects.bulk_create(
        _transition(each.node_id, phase, move, by=by, at=at, evidence=each.evidence) for each in its
    )
    for node_id in ids:
        _tell(node_id, phase, move)
    return after.phase.status


# Rows are locked in the order of their ids. `moves` says where this event leads from each phase.
_HEARD_SQL = """
WITH before AS MATERIALIZED (
    SELECT id, CASE WHEN status = 'pending' AND probing_since IS NULL THEN 'registered' ELSE status END AS phase
    FROM nodes_node WHERE id = ANY(%(nodes)s) ORDER BY id FOR NO KEY UPDATE {locking}
), moved AS (
    UPDATE nodes_node n SET status = m.status, status_reason = m.reason, status_since = %(at)s, probing_since = %(at)s,
                            failed_probes = 0, passed_audits = 0, fraud = false
    FROM before JOIN json_to_recordset(%(moves)s::json) AS m (phase text, leads_to text, status text, reason text)
        USING (phase)
    WHERE n.id = before.id
    RETURNING n.id, phase, leads_to, n.status_reason
), noted AS (
    INSERT INTO nodes_nodetransition (node_id, at, from_status, to_status, reason, actor_kind, actor_id, evidence)
    SELECT id, %(at)s, phase, leads_to, status_reason, 'node', id, '{{}}' FROM moved ORDER BY id
)
SELECT id, phase FROM moved
"""
_HEARD_ALONE: Final = _HEARD_SQL.format(locking="")
_HEARD_TOGETHER: Final = _HEARD_SQL.format(locking="SKIP LOCKED")
_HEARD_MOVES: Final = {
    phase: move for phase in Phase if (move := step(LifecycleState(phase), Event.HEARTBEAT).move) is not None
}


def heard_again(*, node_ids: Collection[str], at: datetime, together: bool) -> None:
    """Applies the first heartbeat after a registration, a clear or an absence to many nodes at once.

    A fleet may come back in one moment, so that this is one statement, however many nodes there are. Of those that are
    asked about `together`, none waits for one that somebody else has locked: its next heartbeat does this.
    """
    moves = [
        {"phase": phase, "leads_to": move.to, "status": move.to.status, "reason": move.reason}
        for phase, move in _HEARD_MOVES.items()
    ]
    sql = _HEARD_TOGETHER if together else _HEARD_ALONE
    rows = fetch(sql, {"nodes": texts(node_ids), "at": at, "moves": orjson.dumps(moves).decode()})
    for node_id, phase in rows:
        _tell(node_id, Phase(phase), _HEARD_MOVES[Phase(phase)])


def changes_nothing(state: LifecycleState, event: Event) -> bool:
    """Whether the event, which is not one of FRAUD, leaves a node in this state as it is."""
    outcome = step(state, event)
    return outcome.state == state and outcome.move is None


def _changes_fraud(node: Node, event: Event) -> bool:
    """Whether the event makes a quarantine one for fraud, or changes the fraud in question to the node's own."""
    if event not in FRAUD or node.status != Status.QUARANTINE:
        return False
    return not node.fraud or (
        node.status_reason == Reason.RELATED_TO_FRAUD and event is not Event.RELATED_TO_FRAUD
    )


def _columns(before: LifecycleState, outcome: StepOutcome, at: datetime) -> dict[str, Any]:
    state = outcome.state
    columns: dict[str, Any] = {
        "failed_probes": state.failed_probes,
        "passed_audits": state.passed_audits,
        "fraud": state.fraud,
    }
    if outcome.move is not None:
        columns |= {
            "status": state.phase.status,
            "probing_since": at if state.phase is Phase.PROBING else None,
            "status_since": at,
            "status_reason": outcome.move.reason,
        }
        if before.phase is Phase.QUARANTINE:
            # R at the end of the quarantine is read by the statement that ends it
            low = When(reputation__lt=REPUTATION_FLOOR, then=F("reputation"))
            columns["pardoned_reputation"] = Case(low, default=None)
    return columns


def _record_fraud(node: Node, event: Event, *, by: Actor, evidence: dict[str, Any]) -> None:
    """Marks an existing quarantine as one for fraud. This is no transition, but audits no longer end it."""
    record(
        "node.quarantine_for_fraud",
        by=by,
        subject_kind="node",
        subject_id=node.pk,
        org_id=node.org_id,
        reason=FRAUD[event],
        **evidence,
    )


def _record(
    node: Node,
    before: LifecycleState,
    outcome: StepOutcome,
    *,
    by: Actor,
    at: datetime,
    reason: str,
    evidence: dict[str, Any],
) -> None:
    move = outcome.move
    if move is None:
        return
    if reason:
        evidence = {**evidence, "note": reason}
    _transition(node.pk, before.phase, move, by=by, at=at, evidence=evidence).save(force_insert=True)
    if Phase.QUARANTINE in (before.phase, move.to):
        record(
            "node.quarantine" if move.to is Phase.QUARANTINE else "node.quarantine_ended",
            by=by,
            subject_kind="node",
            subject_id=node.pk,
            org_id=node.org_id,
            reason=reason or move.reason,
            **evidence,
        )
    _tell(node.pk, before.phase, move)


def _transition(
    node_id: str, phase: Phase, move: Move, *, by: Actor, at: datetime, evidence: dict[str, Any]
) -> NodeTransition:
    """The row for a move from the phase."""
    return NodeTransition(
        node_id=node_id,
        at=at,
        from_status=phase,
        to_status=move.to,
        reason=move.reason,
        actor_kind=by.kind,
        actor_id=by.id,
        evidence=evidence,
    )


def _tell(node_id: str, phase: Phase, move: Move) -> None:
    log.info("node transition", node_id=node_id, before=phase, after=move.to, reason=move.reason)
