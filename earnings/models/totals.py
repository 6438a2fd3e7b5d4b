"""Totals of lines and of held items, so that no page sums hundreds of thousands of them.

The database keeps them: statement triggers add each change (migrations 0003, 0011 and 0013). Nothing else writes them.
"""

from django.db import models

from earnings.models.amounts import usd
from jatevo.accounts.models import Org
from jatevo.wire.names import MAX_NAME_CHARACTERS
from nodes.models import Node


class _Sums(models.Model):
    """The sums that a line also has, over several lines."""

    id = models.BigAutoField(primary_key=True)
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

    class Meta:
        abstract = True


class NodeTotal(_Sums):
    """What a node's receipts come to since the first one, for the organisation that it belonged to then."""

    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="earnings_totals")
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "org"], name="node_total_once")]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.payable_usd} USD"


class DayTotal(_Sums):
    """What an organisation's receipts of one UTC day and model come to, over all of its nodes."""

    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+")
    day = models.DateField()
    model = models.CharField(max_length=MAX_NAME_CHARACTERS)

    class Meta:
        ordering = ["-day", "org", "model"]
        indexes = [models.Index(fields=["day"], name="day_total_by_day")]
        constraints = [models.UniqueConstraint(fields=["org", "day", "model"], name="day_total_once")]

    def __str__(self) -> str:
        return f"{self.org_id} {self.day} {self.model}: {self.payable_usd} USD"


class OrgDayTotal(_Sums):
    """What an organisation's receipts of one UTC day come to, over all of its nodes and models."""

    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+")
    day = models.DateField()

    class Meta:
        indexes = [models.Index(fields=["day"], name="org_day_total_by_day")]
        constraints = [models.UniqueConstraint(fields=["org", "day"], name="org_day_total_once")]

    def __str__(self) -> str:
        return f"{self.org_id} {self.day}: {self.payable_usd} USD"


class NetworkDayTotal(_Sums):
    """What all receipts of one UTC day and model come to, over all organisations."""

    day = models.DateField()
    model = models.CharField(max_length=MAX_NAME_CHARACTERS)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "model"], name="network_day_total_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.model}: {self.payable_usd} USD"


class HeldTotal(models.Model):
    """What is held of an organisation's receipts of one UTC day for one cause. 0 once nothing is held any more.

    A statement trigger on held items keeps it (migration 0011).
    """

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+")
    day = models.DateField()
    rule = models.CharField(max_length=20)
    cause = models.CharField(max_length=20, blank=True)
    receipts = models.BigIntegerField()
    fees_usd = usd()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "day", "rule", "cause"], name="held_total_once")
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.day} {self.rule}: {self.fees_usd} USD"
