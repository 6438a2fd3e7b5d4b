"""Exports that the worker writes: too many receipts for one answer of a web process."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from jatevo.accounts.models import User


class ExportState(models.TextChoices):
    WRITING = "writing", "Writing"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class ReceiptExport(models.Model):
    """A file of receipts for the person who asked for it, and how far it is written.

    `query` is the search with the moment up to which it is exported. `zone` is the person's, in which the search's
    days are read. `role` and `org_id` are those of the person then: the file is for them in that role only.
    `last_accepted_at` and `last_id` are the last receipt that is in a part. A part and its position are committed
    together, so a worker may be killed at any moment, and no row is lost or written twice.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="receipt_exports")
    role = models.CharField(max_length=10)
    org_id = models.UUIDField(null=True)
    query = models.TextField()
    file_format = models.CharField(max_length=5)
    file_name = models.CharField(max_length=120)
    zone = models.CharField(max_length=64)
    expected_rows = models.BigIntegerField(null=True)  # null until the worker has counted them
    created_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=7, choices=ExportState.choices, default=ExportState.WRITING)
    ended_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True)
    rows = models.BigIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    parts_written = models.IntegerField(default=0)
    last_accepted_at = models.DateTimeField(null=True)
    last_id = models.BigIntegerField(null=True)
    tried_at = models.DateTimeField(null=True)
    failures = models.SmallIntegerField(default=0)  # in a row

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["user"],
                condition=models.Q(state=ExportState.WRITING),
                name="receipt_export_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ExportState.values), name="receipt_export_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state=ExportState.WRITING, ended_at__isnull=True)
                | (~models.Q(state=ExportState.WRITING) & models.Q(ended_at__isnull=False)),
                name="receipt_export_has_its_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} of {self.user_id}"


class ReceiptExportPart(models.Model):
    """A part of the compressed file: a gzip member of its own, from `first_byte` on.

    `nodes` are those whose receipts are in it. Empty for an admin, who sees them all.
    """

    export = models.ForeignKey(ReceiptExport, on_delete=models.CASCADE, related_name="parts")
    number = models.IntegerField()
    first_byte = models.BigIntegerField()
    size_bytes = models.IntegerField()
    data = models.BinaryField()
    nodes = ArrayField(models.CharField(max_length=64))

    class Meta:
        ordering = ["export", "number"]
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="receipt_export_part_once")]

    def __str__(self) -> str:
        return f"{self.export_id}, part {self.number}"
