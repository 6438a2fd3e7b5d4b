"""The queues of accepted receipts and of gateways' statements for earnings."""

from django.db import models
from django.db.models.functions import Now


class UnjudgedReceipt(models.Model):
    """An accepted receipt that earnings have not itemised yet.

    Acceptance inserts it in the same statement as the receipt, and earnings delete it in the transaction that
    makes the receipt's item. `id` and `accepted_at` are the receipt's own, so they lead to its partition.

    Earnings note that no rate prices it, and look at it again once there is a new rate (earnings, migration 0014).
    """

    id = models.BigIntegerField(primary_key=True)
    accepted_at = models.DateTimeField()
    node_id = models.CharField(max_length=64)
    request_id = models.CharField(max_length=128)
    unpriced = models.BooleanField(db_default=False)

    class Meta:
        db_table = "receipts_unjudged"
        ordering = ["id"]
        # There may be any number of receipts that no rate ever prices.
        indexes = [models.Index(fields=["id"], name="unjudged_priceable", condition=models.Q(unpriced=False))]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id}"


class UnjudgedRequest(models.Model):
    """A request about which a gateway said something that earnings have not taken into account yet.

    The database inserts it with each dispatch and each winner (migration 0006).
    """

    id = models.BigAutoField(primary_key=True)
    request_id = models.CharField(max_length=128)
    told_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["request_id"], name="unjudged_request")]

    def __str__(self) -> str:
        return self.request_id
