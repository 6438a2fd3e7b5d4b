"""The history of nodes, and exemptions: times for which no node is blamed."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models.functions import Now

from jatevo.wire.names import MAX_NAME_CHARACTERS
from nodes.models.coverage import covering_node
from nodes.models.node import Node


class NodeTransition(models.Model):
    """One recorded change of a node's phase. Append-only."""

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    from_status = models.CharField(max_length=12)
    to_status = models.CharField(max_length=12)
    reason = models.CharField(max_length=40)
    actor_kind = models.CharField(max_length=12)
    actor_id = models.CharField(max_length=320)
    evidence = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["node", "-id"], name="transition_by_node"),
            # the starts of outages, to find those that coincide
            models.Index(
                fields=["at"], name="transition_offline_by_time", condition=models.Q(to_status="offline")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.from_status} → {self.to_status} ({self.reason})"


class NodeChange(models.Model):
    """A change of what a node states about itself: agent version, hardware or concurrency. Append-only.

    `changes` maps each member to its old and new value. `hardware_changed` says whether the hardware hash is
    among them, as when a node's id and keys move to another machine.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="changes")
    at = models.DateTimeField()
    changes = models.JSONField()
    hardware_changed = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["node", "-id"], name="change_by_node")]

    def __str__(self) -> str:
        return f"{self.node_id}: {', '.join(self.changes)}"


class NodeOffer(models.Model):
    """A time in which a node offered a model. `offered_until` is null while it does.

    A model that comes back within a day continues its last row, so that a runtime which lists its models
    unsteadily does not fill the history. Nothing is known of times before a node's first row.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="offers")
    model = models.CharField(
        max_length=MAX_NAME_CHARACTERS, help_text="in the form in which models are compared"
    )
    offered_from = models.DateTimeField()
    offered_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["node", "model", "offered_from"], name="offer_by_node_model"),
            models.Index(fields=["node", "offered_until"], name="offer_by_end"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["node", "model"],
                condition=models.Q(offered_until__isnull=True),
                name="offer_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(offered_until__isnull=True)
                | models.Q(offered_until__gte=models.F("offered_from")),
                name="offer_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.model}"


class ExemptionKind(models.TextChoices):
    MAINTENANCE = "maintenance", "Maintenance"  # announced by the node's owner
    INCIDENT = "incident", "Incident"  # declared by an admin for a region
    OUTAGE = "outage", "Console outage"  # the console could not hear any node


class ExemptionQuerySet(models.QuerySet["Exemption"]):
    def overlapping(self, since: datetime, until: datetime) -> Self:
        """Exemptions that overlap `since <= t < until`. One without an end goes on."""
        unended = models.Q(ends_at__isnull=True) | models.Q(ends_at__gt=since)
        return self.filter(unended, starts_at__lt=until)

    def covering(self, at: datetime) -> Self:
        """Exemptions in effect at that moment."""
        unended = models.Q(ends_at__isnull=True) | models.Q(ends_at__gt=at)
        return self.filter(unended, starts_at__lte=at)

    def of_node(self, node: Node) -> Self:
        """Exemptions of the node itself, of its region, or of the whole network."""
        return self.filter(covering_node(node.pk, node.region))


class Exemption(models.Model):
    """A time in which silence and failed probes cost no reputation.

    It covers one node, a region or, with neither set, the whole network. Only nodes/actions writes it.
    """

    kind = models.CharField(max_length=12, choices=ExemptionKind.choices)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, null=True, related_name="exemptions")
    region = models.CharField(max_length=32, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    message = models.CharField(max_length=300, blank=True)
    reference = models.CharField(max_length=40, blank=True, help_text="what declared it, as in incident:12")
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = ExemptionQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at"]
        indexes = [models.Index(fields=["starts_at", "ends_at"], name="exemption_by_time")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=ExemptionKind.values), name="exemption_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True) | models.Q(ends_at__gte=models.F("starts_at")),
                name="exemption_ends_after_start",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="maintenance", node__isnull=False)
                | models.Q(node__isnull=True) & ~models.Q(kind="maintenance"),
                name="exemption_maintenance_is_a_nodes",
            ),
            models.UniqueConstraint(
                fields=["reference"], condition=~models.Q(reference=""), name="exemption_declared_once"
            ),
        ]

    def __str__(self) -> str:
        where = self.node_id or self.region or "the network"
        return f"{self.kind} of {where} from {self.starts_at:%F %H:%M}"


class PendingJudgement(models.Model):
    """Days to recompute because an exemption that covers them was declared, changed or withdrawn.

    A row is written in the transaction of that change and deleted once the days are recomputed, so that a
    crash loses none.
    """

    id = models.BigAutoField(primary_key=True)
    region = models.CharField(max_length=32, blank=True)  # '' is the whole network
    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.region or 'the network'} from {self.since:%F %H:%M} to {self.until:%F %H:%M}"
