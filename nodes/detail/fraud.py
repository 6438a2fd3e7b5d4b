"""What an admin sees about fraud of a node: findings, the nodes they hold, and mere matches. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef

from jatevo.wire.keys import public_key_text
from nodes.detail.history import Fact, evidence_facts
from nodes.models import FindingState, FraudFinding, FraudRelation, Node, NodeKey, NodeMark

MOST_SHOWN = 50


@dataclass(frozen=True)
class Match:
    """Another node with the same mark or, from before keys were unique, the same key.

    A match holds no node.
    """

    node_id: str
    org: str
    same_org: bool
    what: str
    value: str
    since: datetime


@dataclass(frozen=True)
class Finding:
    """A finding of fraud with its evidence in words."""

    row: FraudFinding
    facts: Sequence[Fact]


@dataclass(frozen=True)
class FraudView:
    """`open` is the finding to decide.

    `held_by` are relations that hold this node, `holding` those that hold others.
    """

    findings: Sequence[Finding]
    open: FraudFinding | None
    confirmed: FraudFinding | None
    held_by: Sequence[FraudRelation]
    holding: Sequence[FraudRelation]
    matches: Sequence[Match]
    more_matches: bool


def fraud_view(node: Node) -> FraudView:
    """Reads the view of a node, with five bounded queries."""
    findings = list(node.fraud_findings.all()[:MOST_SHOWN])
    binding = [finding.pk for finding in findings if finding.state != FindingState.CLEARED]
    relations = FraudRelation.objects.select_related("finding", "node")
    matches = _marks(node) + _keys(node)
    return FraudView(
        findings=[Finding(each, list(evidence_facts(each.evidence))) for each in findings],
        open=next((each for each in findings if each.state == FindingState.OPEN), None),
        confirmed=next((each for each in findings if each.state == FindingState.CONFIRMED), None),
        held_by=list(relations.filter(node=node, lifted_at__isnull=True)[:MOST_SHOWN]),
        holding=list(relations.filter(finding__in=binding, lifted_at__isnull=True)[:MOST_SHOWN]),
        matches=matches[:MOST_SHOWN],
        more_matches=len(matches) > MOST_SHOWN,
    )


def _marks(node: Node) -> list[Match]:
    own = NodeMark.objects.filter(node=node, kind=OuterRef("kind"), value=OuterRef("value"))
    others = NodeMark.objects.filter(Exists(own)).exclude(node=node).select_related("node__org")
    return [
        Match(
            node_id=mark.node_id,
            org=mark.node.org.name,
            same_org=mark.node.org_id == node.org_id,
            what="Same hardware hash" if mark.kind == "hardware" else "Same endpoint",
            value=mark.value,
            since=mark.gained_at,
        )
        for mark in others.order_by("-gained_at")[: MOST_SHOWN + 1]
    ]


def _keys(node: Node) -> list[Match]:
    own = NodeKey.objects.filter(node=node, public_key=OuterRef("public_key"))
    others = NodeKey.objects.filter(Exists(own)).exclude(node=node).select_related("node__org")
    return [
        Match(
            node_id=key.node_id,
            org=key.node.org.name,
            same_org=key.node.org_id == node.org_id,
            what="Same public key",
            value=public_key_text(bytes(key.public_key)),
            since=key.valid_from,
        )
        for key in others.order_by("valid_from")[: MOST_SHOWN + 1]
    ]
