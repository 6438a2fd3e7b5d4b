"""Findings of fraud: opening, clearing and confirming them, and holding the nodes that they concern.

A finding also concerns other nodes of the same organisation. While it is open, those that register with, or
change to, the hardware hash or endpoint of the finding's node are held in quarantine. Once it is confirmed,
so are all nodes that the organisation has registered since. A node held this way does not hold others in
turn.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, Actor, actor_of, record
from jatevo.wire.keys import public_key_text
from nodes.actions.errors import NotPossible, UnknownNode
from nodes.actions.transition import happen
from nodes.models import FindingState, FraudCause, FraudFinding, FraudRelation, Node, NodeKey
from nodes.rules.lifecycle import Event, Reason, Status

MOST_RELATED_AT_ONCE = 500
MOST_DOUBT = timedelta(days=7)  # before it: no receipt is accepted later than that

_EVENTS = {
    FraudCause.RECEIPT_FORGED: Event.RECEIPT_FORGED,
    FraudCause.ADMIN: Event.FRAUD_SUSPECTED,
}


def find_fraud(
    node_id: str,
    *,
    cause: FraudCause,
    by: Actor,
    at: datetime,
    reason: str = "",
    evidence: dict[str, Any] | None = None,
    doubtful_from: datetime | None = None,
) -> FraudFinding:
    """Opens a finding about the node and quarantines it, in one transaction. Returns the finding in force.

    What the node served from `doubtful_from` on is in doubt (default: from `at`; at most MOST_DOUBT earlier
    for a cause that is no admin's). If a finding is already open or confirmed, it is kept, and the event is
    recorded as usual; earlier evidence moves the doubt of an open one back. Raises UnknownNode.
    """
    doubtful_from = min(doubtful_from or at, at)
    if cause != FraudCause.ADMIN:
        doubtful_from = max(doubtful_from, at - MOST_DOUBT)
    with transaction.atomic():
        # the row lock makes this wait for a concurrent clear or a second forgery
        node = Node.objects.select_for_update(no_key=True).filter(pk=node_id).only("id", "org_id").first()
        if node is None:
            raise UnknownNode(f"There is no node {node_id}.")
        finding = FraudFinding.objects.binding().filter(node=node).first()
        if finding is None:
            finding = FraudFinding.objects.create(
                node=node,
                cause=cause,
                reason=reason,
                evidence=evidence or {},
                doubtful_from=doubtful_from,
                opened_at=at,
                opened_by=by.id,
            )
            details = {"doubtful_from": doubtful_from.isoformat(), **(evidence or {})}
            _record("fraud.open", finding, node, by=by, reason=reason or cause.value, **details)
        elif finding.state == FindingState.OPEN and doubtful_from < finding.doubtful_from:
            finding.doubtful_from = doubtful_from
            finding.save(update_fields=["doubtful_from"])
            details = {"doubtful_from": doubtful_from.isoformat(), **(evidence or {})}
            _record("fraud.extend", finding, node, by=by, reason=reason or cause.value, **details)
        happen(node_id, _EVENTS[cause], by=by, at=at, reason=reason, evidence=evidence)
    return finding


def suspect(
    *, node: Node, by: User, reason: str, at: datetime, doubtful_from: datetime | None = None
) -> FraudFinding:
    """Opens a finding for an admin, about what the node served from `doubtful_from` on (default: `at`).

    A reason is required. Raises NotPossible if a finding is open or confirmed, or for a future moment.
    """
    if not reason.strip():
        raise NotPossible("Enter a reason. It is recorded in the audit log.")
    if doubtful_from is not None and doubtful_from > at:
        raise NotPossible("The doubt cannot begin in the future.")
    if FraudFinding.objects.binding().filter(node=node).exists():
        raise NotPossible("This node already has a finding of fraud.")
    return find_fraud(
        node.pk,
        cause=FraudCause.ADMIN,
        by=actor_of(by),
        reason=reason.strip(),
        at=at,
        doubtful_from=doubtful_from,
    )


def confirm_fraud(*, node: Node, by: User, reason: str, at: datetime) -> FraudFinding:
    """Confirms the node's open finding for good, and holds the nodes that its organisation has registered
    since.

    A reason is required. Raises NotPossible if no finding is open.
    """
    if not reason.strip():
        raise NotPossible("Enter a reason. It is recorded in the audit log.")
    with transaction.atomic():
        finding = _decide(node, FindingState.CONFIRMED, by=by, reason=reason.strip(), at=at)
        if finding is None:
            raise NotPossible("This node has no open finding of fraud.")
        _record("fraud.confirm", finding, node, by=actor_of(by), reason=reason.strip())
    relate(at=at)  # in its own transaction; if it fails, the sweeper does it
    return finding


def settle_for_clear(*, node: Node, by: User, reason: str, at: datetime) -> None:
    """The part of an admin's clear that concerns fraud: clears the node's open finding and lifts its
    relations.

    Nodes that only that finding held start again as well. Must run in the transaction of the clear.
    Raises NotPossible if fraud of this node is confirmed.
    """
    Node.objects.select_for_update(no_key=True).get(pk=node.pk)
    if FraudFinding.objects.filter(node=node, state=FindingState.CONFIRMED).exists():
        raise NotPossible("The fraud of this node is confirmed, so its quarantine is permanent.")
    _lift(FraudRelation.objects.filter(node=node), by=by, at=at)
    finding = _decide(node, FindingState.CLEARED, by=by, reason=reason, at=at)
    if finding is None:
        return
    _record("fraud.clear", finding, node, by=actor_of(by), reason=reason)
    held = sorted(set(_lift(FraudRelation.objects.filter(finding=finding), by=by, at=at)))
    still_held = set(
        FraudRelation.objects.filter(node_id__in=held, lifted_at__isnull=True).values_list(
            "node_id", flat=True
        )
    )
    only_related = Node.objects.filter(
        pk__in=set(held) - still_held, status=Status.QUARANTINE, status_reason=Reason.RELATED_TO_FRAUD
    )
    for node_id in list(only_related.order_by("pk").values_list("pk", flat=True)):
        note = f"The finding of fraud about {node.pk} was cleared: {reason}"
        happen(node_id, Event.CLEARED_BY_ADMIN, by=actor_of(by), at=at, reason=note)


# A finding concerns nodes of the same organisation that, since it was opened, took up a mark which its node
# has or had. Once it is confirmed, it also concerns nodes registered since. Matches in other organisations
# and matches from before it was opened hold nothing.
_LOCK_SQL = "SELECT id FROM nodes_fraudfinding WHERE state <> 'cleared' ORDER BY id FOR SHARE"
_RELATE_SQL = """
WITH binding AS (
    SELECT f.id, f.node_id, f.opened_at, f.state, c.org_id
    FROM nodes_fraudfinding f JOIN nodes_node c ON c.id = f.node_id
    WHERE f.state <> 'cleared'
), matched AS (
    SELECT b.id AS finding_id, n.id AS node_id, m.kind AS ground, m.value
    FROM binding b
    JOIN nodes_nodemark own ON own.node_id = b.node_id
    JOIN nodes_nodemark m ON m.kind = own.kind AND m.value = own.value
        AND m.node_id <> b.node_id AND m.gained_at >= b.opened_at
    JOIN nodes_node n ON n.id = m.node_id AND n.org_id = b.org_id
    UNION ALL
    SELECT b.id, n.id, 'org', ''
    FROM binding b
    JOIN nodes_node n ON n.org_id = b.org_id AND n.id <> b.node_id AND n.created_at >= b.opened_at
    WHERE b.state = 'confirmed'
      AND NOT EXISTS (SELECT FROM nodes_fraudrelation r WHERE r.finding_id = b.id AND r.node_id = n.id)
)
INSERT INTO nodes_fraudrelation (finding_id, node_id, ground, value, related_at, lifted_by)
SELECT finding_id, node_id, ground, value, %(at)s, '' FROM matched
WHERE (%(node)s::varchar IS NULL OR node_id = %(node)s)
  AND NOT EXISTS (
    SELECT FROM nodes_fraudrelation r
    WHERE r.finding_id = matched.finding_id AND r.node_id = matched.node_id
      AND r.ground = matched.ground AND r.value = matched.value)
ORDER BY node_id, finding_id
LIMIT %(most)s
ON CONFLICT DO NOTHING
RETURNING finding_id, node_id, ground, value
"""


def relate(*, at: datetime, node_id: str | None = None) -> int:
    """Holds the nodes that a finding concerns and does not hold yet. With `node_id`, only that node.

    Returns the number of new relations, at most MOST_RELATED_AT_ONCE. It depends only on the stored rows, so
    it can run anywhere and any number of times. The sweeper repeats it, to catch what concurrent changes hid.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # a concurrent clear waits until these relations are committed, and then lifts them too
        cursor.execute(_LOCK_SQL)
        if not cursor.fetchall():
            return 0
        cursor.execute(_RELATE_SQL, {"at": at, "node": node_id, "most": MOST_RELATED_AT_ONCE})
        related = cursor.fetchall()
        culprits = dict(
            FraudFinding.objects.filter(pk__in={row[0] for row in related}).values_list("pk", "node_id")
        )
        for finding_id, related_id, ground, value in related:
            evidence = {"finding": finding_id, "related_to": culprits[finding_id], "ground": ground}
            if value:
                evidence["mark"] = value
            happen(related_id, Event.RELATED_TO_FRAUD, by=SYSTEM, at=at, evidence=evidence)
    return len(related)


def note_refused_key(public_key: bytes, *, node_id: str, by: Actor) -> None:
    """Records, as evidence for admins, that `by` offered a key of another node for `node_id`."""
    with transaction.atomic():
        holder = NodeKey.objects.filter(public_key=public_key, duplicate=False).select_related("node").first()
        if holder is not None and holder.node_id != node_id:
            record(
                "node.key_refused",
                by=by,
                subject_kind="node",
                subject_id=holder.node_id,
                org_id=by.org_id,
                public_key=public_key_text(public_key),
                offered_for=node_id,
                holder_org=str(holder.node.org_id),
            )


def _decide(node: Node, state: FindingState, *, by: User, reason: str, at: datetime) -> FraudFinding | None:
    """Decides the node's open finding. Returns None if none is open."""
    finding = (
        FraudFinding.objects.select_for_update(no_key=True).filter(node=node, state=FindingState.OPEN).first()
    )
    if finding is None:
        return None
    finding.state, finding.decided_at = state, at
    finding.decided_by, finding.decision = actor_of(by).id, reason
    finding.save(update_fields=["state", "decided_at", "decided_by", "decision"])
    return finding


def _lift(relations: Any, *, by: User, at: datetime) -> list[str]:
    """Lifts those relations that are still in force. Returns their nodes."""
    holding = relations.filter(lifted_at__isnull=True)
    node_ids = list(holding.values_list("node_id", flat=True))
    holding.update(lifted_at=at, lifted_by=actor_of(by).id)
    return node_ids


def _record(verb: str, finding: FraudFinding, node: Node, *, by: Actor, reason: str, **details: Any) -> None:
    record(
        verb,
        by=by,
        subject_kind="node",
        subject_id=node.pk,
        org_id=node.org_id,
        reason=reason,
        finding=finding.pk,
        **details,
    )
