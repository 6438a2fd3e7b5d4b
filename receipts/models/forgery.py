"""Forged receipts, kept as evidence."""

import uuid

from django.db import models
from django.db.models.functions import Now

from nodes.models import Node


class ForgedReceipt(models.Model):
    """Evidence: a receipt from an authenticated node that no key of the node has signed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="forged_receipts")
    request_id = models.CharField(max_length=128)
    raw = models.BinaryField()
    sha256 = models.BinaryField(max_length=32)
    public_key = models.BinaryField(max_length=32)
    detail = models.CharField(max_length=200)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-received_at"]
        constraints = [models.UniqueConstraint(fields=["node", "sha256"], name="forged_receipt_once")]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id} ({self.received_at:%F %T})"
