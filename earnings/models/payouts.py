"""Payouts: what an admin marked ready, the export files, and the payments in them. No on-chain operation."""

import uuid

from django.db import models
from django.db.models.functions import Now

from earnings.models.amounts import usd
from earnings.models.wallets import Chain
from jatevo.accounts.models import Org
from nodes.models import Node


class PayoutState(models.TextChoices):
    PROPOSED = "proposed", "Awaits a second admin"
    READY = "ready", "Ready"
    EXPORTED = "exported", "Exported"
    RETURNED = "returned", "Returned"
    WITHDRAWN = "withdrawn", "Withdrawn"


class Payout(models.Model):
    """An amount of one node that an admin marked ready. Its movements name the lines.

    `amount_usd` was judged when it was marked; the amount that is paid is judged again at the export.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="payouts")
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="payouts")
    amount_usd = usd()
    unconfirmed_usd = usd(default=0)
    state = models.CharField(max_length=10, choices=PayoutState.choices)
    batch = models.UUIDField(default=uuid.uuid4, editable=False)
    marked_at = models.DateTimeField()
    marked_by = models.CharField(max_length=320)
    reason = models.TextField()
    overridden = models.JSONField(default=list, help_text="the failed rules that the admin overrode")
    second_why = models.JSONField(default=list, help_text="why a second admin must confirm")
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=320, blank=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=320, blank=True)
    end_reason = models.TextField(blank=True)
    payment = models.ForeignKey("Payment", on_delete=models.PROTECT, null=True, related_name="payouts")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["node", "org"],
                condition=models.Q(state__in=["proposed", "ready"]),
                name="payout_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=PayoutState.values), name="payout_state_known"
            ),
            models.CheckConstraint(condition=models.Q(amount_usd__gt=0), name="payout_amount_positive"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="payout_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.amount_usd} USD ({self.state})"

    @property
    def confirmed_by_nobody(self) -> bool:
        """Whether the policy asked for a second admin, and there was none."""
        acted_on = (PayoutState.READY, PayoutState.EXPORTED, PayoutState.RETURNED)
        return bool(self.second_why) and not self.confirmed_by and self.state in acted_on


class ExportFile(models.Model):
    """A numbered file of payments, kept as it was made."""

    number = models.PositiveIntegerField(primary_key=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=320)
    body = models.BinaryField()
    sha256 = models.BinaryField(max_length=32)
    payments_count = models.PositiveIntegerField()
    total_usd = models.DecimalField(max_digits=20, decimal_places=2)

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"export {self.number}"


class Payment(models.Model):
    """What one wallet gets in an export: whole cents, rounded down. The address is as it was then."""

    id = models.BigAutoField(primary_key=True)
    export = models.ForeignKey(ExportFile, on_delete=models.PROTECT, related_name="payments")
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="payments")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, null=True, related_name="payments")
    chain = models.CharField(max_length=8, choices=Chain.choices)
    address = models.CharField(max_length=64)
    sum_usd = usd()
    carried_in_usd = usd()
    paid_usd = models.DecimalField(max_digits=20, decimal_places=2)
    carried_out_usd = usd()
    returned_at = models.DateTimeField(null=True)
    returned_by = models.CharField(max_length=320, blank=True)
    return_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["export", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    sum_usd=models.F("paid_usd") + models.F("carried_out_usd") - models.F("carried_in_usd")
                ),
                name="payment_adds_up",
            ),
            models.CheckConstraint(
                condition=models.Q(carried_out_usd__gte=0, carried_out_usd__lt="0.01", carried_in_usd__gte=0)
                & models.Q(paid_usd__gt=0),
                name="payment_carries_less_than_a_cent",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.paid_usd} USD to {self.address}"


class Statement(models.Model):
    """An organisation's statement of a UTC month, kept as it was made once the month was final."""

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="statements")
    month = models.DateField(help_text="its first day")
    made_at = models.DateTimeField()
    body = models.BinaryField()
    sha256 = models.BinaryField(max_length=32)
    root_hash = models.BinaryField(max_length=32, help_text="of the receipts' hashes")
    balances = models.JSONField(help_text="opening and closing amounts by account, as printed")

    class Meta:
        ordering = ["-month", "org"]
        constraints = [models.UniqueConstraint(fields=["org", "month"], name="statement_once")]

    def __str__(self) -> str:
        return f"{self.org_id} {self.month:%Y-%m}"
