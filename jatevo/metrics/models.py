"""The outbox: facts on their way from PostgreSQL to ClickHouse.

Other apps insert rows in their own transactions, with `Outbox.objects` or with raw SQL
(`INSERT INTO metrics_outbox (kind, body) VALUES …`, or with `source_at, source_id`). Only `shipper.py` changes or deletes
them, and `metrics_rebuild`, while no worker runs.
"""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from jatevo.metrics.facts import FactKind


class OutboxQuerySet(models.QuerySet["Outbox"]):
    def waiting(self) -> Self:
        """Rows not yet shipped. The oldest `created_at` shows how far ClickHouse is behind."""
        return self.filter(poisoned=None)

    def set_aside(self) -> Self:
        """Rows that could not be shipped, each with its reason."""
        return self.filter(poisoned__isnull=False)


class Outbox(models.Model):
    """One fact to ship. It is unclaimed, then part of a batch, then deleted or set aside as poisoned."""

    kind = models.TextField(choices=FactKind.choices)
    body = models.JSONField(help_text="facts.py gives the members of each kind")
    # Which row the fact is read from, for kinds with a source (sources.py). The body has its trace at most then.
    source_at = models.DateTimeField(null=True)
    source_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    # A batch is fixed once claimed: after a crash it is shipped again with the same id and content.
    batch = models.UUIDField(null=True)
    claimed_at = models.DateTimeField(null=True)
    poisoned = models.TextField(null=True, help_text="why this row could not be shipped")

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = "outbox row"
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=FactKind.values), name="metrics_outbox_kind_known"),
            models.CheckConstraint(
                condition=Q(batch=None, claimed_at=None) | Q(batch__isnull=False, claimed_at__isnull=False),
                name="metrics_outbox_claim_whole",
            ),
            models.CheckConstraint(
                condition=Q(source_id=None, source_at=None)
                | Q(source_id__isnull=False, source_at__isnull=False),
                name="metrics_outbox_source_whole",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"], condition=Q(batch=None, poisoned=None), name="metrics_outbox_unclaimed"
            ),
            models.Index(
                fields=["batch"],
                condition=Q(batch__isnull=False, poisoned=None),
                name="metrics_outbox_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class ChangedHour(models.Model):
    """An hour (UTC) for which ClickHouse has new facts since it was last summarised.

    The shipper notes it in the transaction that clears a batch, after ClickHouse has the facts. If it is
    noted again, `noted_at` is updated. To summarise an hour, read the row, then query ClickHouse, and delete
    the row in the transaction that stores the sums if `noted_at` has not changed. (If it were deleted before
    the query, shippers would have to wait.)
    """

    hour = models.DateTimeField(primary_key=True)
    noted_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.hour:%F %H}h"


class SearchOrigin(models.Model):
    """Which filling of ClickHouse's receipt_search the gaps below are about. One row.

    ClickHouse has the same id in receipt_search_origin. If it does not, it is empty or another one.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    origin = models.UUIDField()
    noted_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="metrics_searchorigin_one")]

    def __str__(self) -> str:
        return str(self.origin)


class ReceiptGap(models.Model):
    """A range of acceptance of which receipt_search may lack receipts: `first_at` included, `until_at` not.

    It is filled from PostgreSQL, newest first, and shrinks from its end: the receipts of `until_at` with an id below
    `until_id` are still in it.
    """

    first_at = models.DateTimeField()
    until_at = models.DateTimeField()
    until_id = models.BigIntegerField(default=0)
    filled = models.BigIntegerField(default=0, help_text="receipts so far")
    noted_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-until_at", "-until_id"]

    def __str__(self) -> str:
        return f"{self.first_at:%F %T} to {self.until_at:%F %T}"
