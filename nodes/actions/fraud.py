"""Findings of fraud: opening, clearing and confirming them, and holding the nodes that they concern.

A finding binds more than a name. While it is open, nodes of the same org that register, or take up a statement,
with the hardware hash or the endpoint of the node in question are held in quarantine. Once it is confirmed, so are
all nodes that the org registered since. Only the finding's own node relates others: what is related does not.
"""

from datetime import datetime
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
) -> FraudFinding:
    """Opens a finding about the node and quarantines it, in one transaction; returns the finding that binds.

    Where one is open or confirmed already, that one stands and the event is noted as usual. Raises UnknownNode.
    """
    with transaction.atomic():
        # the row lock makes it queue with a clear and with a second forgery
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
                opened_at=at,
                opened_by=by.id,
            )
            _record("fraud.open", finding, node, by=by, reason=reason or cause.value, **(evidence or {}))
        happen(node_id, _EVENTS[cause], by=by, at=at, reason=reason, evidence=evidence)
    return finding


def suspect(*, node: Node, by: User, reason: str, at: datetime) -> FraudFinding:
    """An admin opens a finding. The reason is required. Raises NotPossible where one is open or confirmed."""
    if not reason.strip():
        raise NotPossible("Say why; the reason goes into the audit log.")
    if FraudFinding.objects.binding().filter(node=node).exists():
        raise NotPossible("There is a finding of fraud about this node already.")
    return find_fraud(node.pk, cause=FraudCause.ADMIN, by=actor_of(by), reason=reason.strip(), at=at)


def confirm_fraud(*, node: Node, by: User, reason: str, at: datetime) -> FraudFinding:
    """Settles the node's open finding as fraud, for good, and holds what its org has registered since.

    The reason is required. Raises NotPossible if no finding is open.
    """
    if not reason.strip():
        raise NotPossible("Say why; the reason goes into the audit log.")
    with transaction.atomic():
        finding = _decide(node, FindingState.CONFIRMED, by=by, reason=reason.strip(), at=at)
        if finding is None:
            raise NotPossible("No finding of fraud is open about this node.")
        _record("fraud.confirm", finding, node, by=actor_of(by), reason=reason.strip())
    relate(at=at)  # a transaction of its own: should it fail, the sweeper does it
    return finding


def settle_for_clear(*, node: Node, by: User, reason: str, at: datetime) -> None:
    """What an admin's clear means for fraud: clears the node's open finding, and lifts its own relations.

    The nodes that only that finding held start again as well. Belongs in the transaction of the clear.
    Raises NotPossible if the fraud of this very node is confirmed.
    """
    Node.objects.select_for_update(no_key=True).get(pk=node.pk)
    if FraudFinding.objects.filter(node=node, state=FindingState.CONFIRMED).exists():
        raise NotPossible("The fraud of this node is confirmed, so its quarantine does not end.")
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


# Whom a finding concerns: by a mark taken up since it was opened that its node has or ever had, and, once it is
# confirmed, by having registered since. A match across orgs, or from before, holds nothing.
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
    """Holds nodes that a finding concerns and that are not held by it yet (`node_id`: only that one).

    Returns how many relations are new, at most MOST_RELATED_AT_ONCE. It goes by what the tables say, so that it
    may run anywhere, any number of times; the sweeper catches what a concurrent change hid from the others.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # a clear waits until what is related here is committed, and then lifts it too
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
    """Evidence for admins: a key of another node was offered for `node_id`, by somebody of `by.org_id`."""
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
    """Settles the node's open finding; None if none is open (any more)."""
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
    """Lifts the relations that hold; returns their nodes."""
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
