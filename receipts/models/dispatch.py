"""Gateways, and what they say about which node they sent a request to. Only receipts/dispatches writes it."""

from django.db import models
from django.db.models.functions import Now

from jatevo.wire.names import MAX_NAME_CHARACTERS
from nodes.models import Sender


class Gateway(Sender):
    """A router of the network, which reports its dispatches."""

    kind = "gateway"
    header = "X-Gateway-Id"


class Dispatch(models.Model):
    """A request that a gateway sent to a node. What it says never changes.

    `node_id` is not a foreign key, because a gateway may name a node that is not registered yet.
    """

    id = models.BigAutoField(primary_key=True)
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="dispatches", db_index=False)
    request_id = models.CharField(max_length=128)
    node_id = models.CharField(max_length=64)
    model = models.CharField(
        max_length=MAX_NAME_CHARACTERS, help_text="in the form in which models are compared"
    )
    model_id = models.CharField(max_length=MAX_NAME_CHARACTERS, help_text="as the gateway wrote it")
    ts = models.DateTimeField(help_text="when it was sent, by the gateway's clock")
    hedged = models.BooleanField(default=False)
    tokens_input = models.BigIntegerField(null=True)
    max_tokens = models.BigIntegerField(null=True)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "dispatches"
        ordering = ["-id"]
        indexes = [models.Index(fields=["node_id", "received_at"], name="dispatch_of_node")]
        constraints = [
            models.UniqueConstraint(fields=["request_id", "node_id"], name="dispatch_once"),
            models.CheckConstraint(
                condition=models.Q(tokens_input__isnull=True) | models.Q(tokens_input__gte=0),
                name="dispatch_tokens_input_range",
            ),
            models.CheckConstraint(
                condition=models.Q(max_tokens__isnull=True) | models.Q(max_tokens__gte=0),
                name="dispatch_max_tokens_range",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} to {self.node_id}"


class DispatchWinner(models.Model):
    """Whose answer to a hedged request the gateway used. It never changes."""

    request_id = models.CharField(primary_key=True, max_length=128)
    node_id = models.CharField(max_length=64)
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="winners", db_index=False)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-received_at"]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.node_id}"


class DispatchConflict(models.Model):
    """A gateway contradicted what was said before about a request. The earlier statement stands.

    One row per gateway, request and node, with the latest contradiction and how many there were, so that a
    gateway that repeats itself does not fill the table. `node_id` is '' for a contradiction about the winner.
    """

    id = models.BigAutoField(primary_key=True)
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="conflicts", db_index=False)
    request_id = models.CharField(max_length=128)
    node_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(help_text="what was said first, and by which gateway")
    now = models.JSONField(help_text="what this gateway says instead")
    times = models.PositiveIntegerField(default=1)
    received_at = models.DateTimeField()

    class Meta:
        ordering = ["-received_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["gateway", "request_id", "node_id"], name="dispatch_conflict_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} by {self.gateway_id}"
