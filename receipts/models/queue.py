"""The queue of accepted receipts for earnings."""

from django.db import models


class UnjudgedReceipt(models.Model):
    """An accepted receipt that earnings have not itemised yet.

    Acceptance inserts it in the same statement as the receipt, and earnings delete it in the transaction that
    makes the receipt's item. `id` and `accepted_at` are the receipt's own, so they lead to its partition.
    """

    id = models.BigIntegerField(primary_key=True)
    accepted_at = models.DateTimeField()
    node_id = models.CharField(max_length=64)
    request_id = models.CharField(max_length=128)

    class Meta:
        db_table = "receipts_unjudged"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id}"
