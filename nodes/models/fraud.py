"""Findings of fraud, marks of machines, and relations between findings and nodes.

Only nodes/actions writes them.
"""

from typing import Self

from django.db import models
from django.db.models.functions import Now

from nodes.models.node import Node
from nodes.rules.marks import LONGEST_MARK, MarkKind


class NodeMark(models.Model):
    """A hardware hash or an endpoint that a node has or had, in the normal form of `nodes.rules.marks`.

    Rows are kept when a node changes its statement, so that old marks still count. `gained_at` is when the
    node last began to use the mark.
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="marks")
    kind = models.CharField(
        max_length=10, choices=[(kind.value, kind.value.capitalize()) for kind in MarkKind]
    )
    value = models.CharField(max_length=LONGEST_MARK)
    gained_at = models.DateTimeField()

    class Meta:
        ordering = ["node", "kind", "gained_at"]
        indexes = [models.Index(fields=["kind", "value"], name="node_mark_by_value")]
        constraints = [
            models.UniqueConstraint(fields=["node", "kind", "value"], name="node_mark_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=[kind.value for kind in MarkKind]), name="node_mark_kind_known"
            ),
            models.CheckConstraint(condition=~models.Q(value=""), name="node_mark_tells_something"),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.kind} {self.value}"


class FindingState(models.TextChoices):
    OPEN = "open", "Open"
    CLEARED = "cleared", "Cleared"
    CONFIRMED = "confirmed", "Confirmed"


class FraudCause(models.TextChoices):
    RECEIPT_FORGED = "receipt_forged", "Forged receipt"
    ADMIN = "admin", "Opened by an admin"


class FraudFindingQuerySet(models.QuerySet["FraudFinding"]):
    def binding(self) -> Self:
        """Findings that also concern other nodes: open or confirmed ones."""
        return self.filter(state__in=[FindingState.OPEN, FindingState.CONFIRMED])


class FraudFinding(models.Model):
    """A suspicion of fraud by a node. It is open until an admin clears or confirms it, with a reason.

    A cleared or confirmed finding never changes. A node that forges again after a clear gets a new finding.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="fraud_findings")
    state = models.CharField(max_length=10, choices=FindingState.choices, default=FindingState.OPEN)
    cause = models.CharField(max_length=16, choices=FraudCause.choices)
    reason = models.TextField(blank=True, help_text="why an admin opened it")
    evidence = models.JSONField(default=dict)
    doubtful_from = models.DateTimeField(help_text="what the node served from then on is in doubt")
    opened_at = models.DateTimeField()
    opened_by = models.CharField(max_length=320)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=320, blank=True)
    decision = models.TextField(blank=True, help_text="why it was cleared or confirmed")

    objects = FraudFindingQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["node", "-id"], name="fraud_finding_by_node"),
            models.Index(
                fields=["state"], name="fraud_finding_binding", condition=~models.Q(state="cleared")
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["node"], condition=models.Q(state="open"), name="fraud_finding_one_open"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=FindingState.values), name="fraud_finding_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(cause__in=FraudCause.values), name="fraud_finding_cause_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state="open", decided_at__isnull=True, decided_by="", decision="")
                | ~models.Q(state="open")
                & models.Q(decided_at__isnull=False)
                & ~models.Q(decided_by="")
                & ~models.Q(decision=""),
                name="fraud_finding_decided_with_reason",
            ),
            models.CheckConstraint(
                condition=models.Q(doubtful_from__lte=models.F("opened_at")),
                name="fraud_finding_doubt_before_opening",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} since {self.opened_at:%F %T} ({self.state})"


class RelationGround(models.TextChoices):
    """Why a node is treated like the one that a finding is about."""

    HARDWARE = "hardware", "Same hardware hash"
    ENDPOINT = "endpoint", "Same endpoint"
    ORG = "org", "Registered by the same organisation after the fraud"


class FraudRelation(models.Model):
    """A node held in quarantine by a finding about another node of its organisation, until the relation is
    lifted.

    A lifted relation stays on record and is never created again, so that the admin's decision stands.
    """

    id = models.BigAutoField(primary_key=True)
    finding = models.ForeignKey(FraudFinding, on_delete=models.PROTECT, related_name="relations")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="fraud_relations")
    ground = models.CharField(max_length=10, choices=RelationGround.choices)
    value = models.CharField(max_length=LONGEST_MARK, blank=True, help_text="the mark that both have")
    related_at = models.DateTimeField(db_default=Now())
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=320, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["node"], name="fraud_relation_by_node")]
        constraints = [
            models.UniqueConstraint(
                fields=["finding", "node", "ground", "value"], name="fraud_relation_once"
            ),
            models.CheckConstraint(
                condition=models.Q(ground__in=RelationGround.values), name="fraud_relation_ground_known"
            ),
            models.CheckConstraint(
                condition=models.Q(ground="org", value="") | ~models.Q(ground="org") & ~models.Q(value=""),
                name="fraud_relation_says_what",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} to finding {self.finding_id} ({self.ground})"
