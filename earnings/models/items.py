"""Items, their verdicts, and the lines that sum them. Only `earnings/accrual` writes these tables.

An item is one accepted receipt as an amount, with the facts by which it is judged. It never changes. Verdicts
on it are appended, and the newest holds. Migration 0002 makes both partitioned by month, and lets the
database refuse changes.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from earnings.models.amounts import usd
from earnings.rules.verdicts import VerdictState
from jatevo.accounts.models import Org
from jatevo.wire.names import MAX_NAME_CHARACTERS
from nodes.models import Node


class Item(models.Model):
    """One accepted receipt: its identity, its fee, and the facts for its verdict.

    `day` is the UTC day of `ts_end`. `offered` is None where the history of the node's models is unknown.
    """

    pk = models.CompositePrimaryKey("day", "receipt_id")
    day = models.DateField()
    receipt_id = models.BigIntegerField()
    accepted_at = models.DateTimeField()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    request_id = models.CharField(max_length=128)
    sha256 = models.BinaryField(max_length=32)
    line = models.ForeignKey("Line", on_delete=models.PROTECT, related_name="items", db_constraint=False)
    model = models.CharField(max_length=MAX_NAME_CHARACTERS)
    ts_start = models.DateTimeField()
    ts_end = models.DateTimeField()
    tokens_input = models.BigIntegerField()
    tokens_output = models.BigIntegerField()
    failed = models.BooleanField()
    hedged = models.BooleanField()
    cache_hit = models.BooleanField()
    rate = models.ForeignKey("Rate", on_delete=models.PROTECT, related_name="+", db_constraint=False)
    fee_usd = usd()
    # facts
    node_since = models.DateTimeField()
    key_since = models.DateTimeField(null=True)
    key_until = models.DateTimeField(null=True)
    in_service = models.BooleanField()
    silent_only = models.BooleanField()
    outage_seconds = models.IntegerField()
    offered = models.BooleanField(null=True)
    concurrent = models.IntegerField()
    second_tokens = models.BigIntegerField()
    concurrency = models.IntegerField()
    limit_output_per_second = models.DecimalField(max_digits=10, decimal_places=2)
    limit_context = models.BigIntegerField()
    require_dispatch = models.BooleanField()

    class Meta:
        ordering = ["-day", "-receipt_id"]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id}: {self.fee_usd} USD"


class Verdict(models.Model):
    """A verdict on an item. `rule` is the rule that decided, '' if the item is payable.

    `actor` is '' for the rules, else who decided, with a reason. `confirmed`: a gateway dispatched the request
    to this node.
    """

    pk = models.CompositePrimaryKey("day", "id")
    id = models.BigIntegerField()
    day = models.DateField()
    receipt_id = models.BigIntegerField()
    at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=[(state.value, state.label) for state in VerdictState])
    rule = models.CharField(max_length=20, blank=True)
    cause = models.CharField(max_length=20, blank=True, help_text="what exactly failed")
    confirmed = models.BooleanField()
    numbers = models.JSONField(null=True)
    actor = models.CharField(max_length=320, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-day", "-id"]

    def __str__(self) -> str:
        return f"{self.receipt_id}: {self.state} {self.rule}"


class HeldItem(models.Model):
    """An item whose newest verdict is `held`. Derived from the verdicts, for the review queue."""

    receipt_id = models.BigIntegerField(primary_key=True)
    day = models.DateField()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    line = models.ForeignKey("Line", on_delete=models.PROTECT, related_name="held_items", db_constraint=False)
    request_id = models.CharField(max_length=128)
    rule = models.CharField(max_length=20)
    cause = models.CharField(max_length=20, blank=True)
    fee_usd = usd()
    since = models.DateTimeField()
    ts_end = models.DateTimeField()

    class Meta:
        ordering = ["since", "receipt_id"]
        indexes = [
            models.Index(fields=["node", "rule", "cause"], name="held_item_by_cause"),
            models.Index(fields=["org", "rule", "cause"], name="held_item_by_org"),
            models.Index(fields=["request_id"], name="held_item_by_request"),
            models.Index(fields=["rule", "ts_end"], name="held_item_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.receipt_id}: {self.rule}"


class Line(models.Model):
    """A node's items of one UTC day, model and rate, summed by their newest verdicts.

    The sums belong to the transaction that writes the verdicts. `confirmed_usd` is the part of `payable_usd`
    that a gateway confirms. Once the line is final, each later verdict also posts a movement.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="earnings_lines")
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="earnings_lines")
    day = models.DateField()
    model = models.CharField(max_length=MAX_NAME_CHARACTERS)
    rate = models.ForeignKey("Rate", on_delete=models.PROTECT, related_name="+")
    receipts = models.BigIntegerField(default=0)
    tokens_input = models.DecimalField(max_digits=30, decimal_places=0, default=0)
    tokens_output = models.DecimalField(max_digits=30, decimal_places=0, default=0)
    payable_receipts = models.BigIntegerField(default=0)
    payable_usd = usd(default=0)
    confirmed_usd = usd(default=0)
    held_receipts = models.BigIntegerField(default=0)
    held_usd = usd(default=0)
    excluded_receipts = models.BigIntegerField(default=0)
    excluded_usd = usd(default=0)
    final_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-day", "node", "model", "rate"]
        indexes = [
            models.Index(fields=["org", "day"], name="line_by_org_day"),
            models.Index(fields=["day", "node", "model"], name="line_by_day"),
            models.Index(
                fields=["final_at"], name="line_by_final", condition=models.Q(final_at__isnull=False)
            ),
            models.Index(fields=["day"], name="line_running", condition=models.Q(final_at__isnull=True)),
        ]
        constraints = [
            models.UniqueConstraint(fields=["node", "org", "day", "model", "rate"], name="line_once"),
            models.CheckConstraint(
                condition=models.Q(
                    receipts=models.F("payable_receipts")
                    + models.F("held_receipts")
                    + models.F("excluded_receipts")
                ),
                name="line_receipts_add_up",
            ),
            models.CheckConstraint(
                condition=models.Q(payable_receipts__gte=0, held_receipts__gte=0, excluded_receipts__gte=0)
                & models.Q(payable_usd__gte=0, held_usd__gte=0, excluded_usd__gte=0)
                & models.Q(confirmed_usd__gte=0, confirmed_usd__lte=models.F("payable_usd")),
                name="line_sums_in_range",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} {self.day} {self.model}"


class FinalDay(models.Model):
    """A UTC day whose amounts are in the ledger. Later verdicts are movements of their own date."""

    day = models.DateField(primary_key=True)
    final_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.day)


class JudgedCoverage(models.Model):
    """What the accrual last took into account about a finding of fraud and a node.

    The accrual compares it with the findings as they are, and judges the node's items again where they differ.
    """

    id = models.BigAutoField(primary_key=True)
    finding_id = models.BigIntegerField()
    node_id = models.CharField(max_length=64)
    state = models.CharField(max_length=10)
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["finding_id", "node_id"], name="judged_coverage_once")]

    def __str__(self) -> str:
        return f"{self.node_id}: finding {self.finding_id} {self.state}"


class RecheckDay(models.Model):
    """A day of a node whose items must be judged again, because a finding of fraud changed."""

    pk = models.CompositePrimaryKey("node_id", "day")
    node_id = models.CharField(max_length=64)
    day = models.DateField()

    def __str__(self) -> str:
        return f"{self.node_id} {self.day}"


class VerdictsToDeliver(models.Model):
    """Verdicts that the search of receipts does not have yet: those of `days` with ids in a range.

    The database inserts it with the verdicts (migration 0012), whoever appends them.
    """

    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    days = ArrayField(models.DateField())
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.first_id} to {self.last_id}"
