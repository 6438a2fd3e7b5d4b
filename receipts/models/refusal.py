"""Refused receipts, kept as evidence. Only receipts/refused/recording.py writes these tables."""

import uuid
from typing import Self

from django.db import models
from django.db.models.functions import Now

from jatevo.accounts.models import Role, User
from jatevo.web.error_types import ErrorType
from nodes.models import Node
from receipts.viewer import visible

MAX_DETAIL_CHARACTERS = 1000


class RefusalReason(models.TextChoices):
    """Why a receipt was refused: the error's `type` that its node was answered with."""

    FORGED = ErrorType.INVALID_SIGNATURE.value, "Forged"
    CONFLICT = ErrorType.RECEIPT_CONFLICT.value, "Conflict"
    WRONG_NODE = ErrorType.NODE_MISMATCH.value, "Wrong node"
    INVALID = ErrorType.INVALID_REQUEST.value, "Invalid fields"


def _seen_by(user: object) -> models.Q:
    """All rows for an admin, those of the organisation's nodes for an operator, none for anybody else.

    What a node did for its former organisation, operators of its present one do not see.
    """
    if isinstance(user, User) and user.is_active:
        if user.role == Role.ADMIN:
            return models.Q()
        if user.role == Role.OPERATOR:
            own = models.Q(org_id=user.org_id) | models.Q(org_id=None)
            return own & models.Q(node_id__in=Node.objects.owned_by(user).values("pk"))
    return models.Q(node_id__in=[])


class RefusedReceiptQuerySet(models.QuerySet["RefusedReceipt"]):
    def visible_to(self, user: object) -> Self:
        """The refused receipts that a person may see."""
        return self.filter(_seen_by(user))


class UnkeptRefusalsQuerySet(models.QuerySet["UnkeptRefusals"]):
    def visible_to(self, user: object) -> Self:
        """The counts of nodes whose refused receipts a person may see."""
        return self.filter(_seen_by(user))


class RefusedReceipt(models.Model):
    """Evidence: a receipt from an authenticated node that was not accepted, once for each reason.

    `raw` has the bytes as posted, or only their beginning: `size_bytes` says how many there were, and `sha256` is that
    of all of them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="refused_receipts", db_index=False)
    org_id = models.UUIDField(null=True)  # the node's organisation then; null in rows from before this column
    reason = models.CharField(max_length=32, choices=RefusalReason.choices)
    request_id = models.CharField(max_length=128, blank=True)  # as posted, cut to fit; '' if it was no text
    raw = models.BinaryField()
    size_bytes = models.PositiveIntegerField(null=True)  # null in rows from before this column: all of `raw`
    sha256 = models.BinaryField(max_length=32)
    # Forged: the node's current key then. Conflict: the key that signed it. Otherwise the signature was not checked.
    public_key = models.BinaryField(max_length=32, null=True)
    detail = models.CharField(max_length=MAX_DETAIL_CHARACTERS)
    received_at = models.DateTimeField(db_default=Now())

    objects = RefusedReceiptQuerySet.as_manager()

    class Meta:
        ordering = ["-received_at", "-id"]
        indexes = [
            models.Index(fields=["received_at", "id"], name="refused_receipt_by_time"),
            models.Index(fields=["node", "received_at", "id"], name="refused_receipt_by_node"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["node", "reason", "sha256"], name="refused_receipt_once"),
            models.CheckConstraint(
                condition=models.Q(reason__in=RefusalReason.values), name="refused_receipt_reason_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id} ({self.received_at:%F %T})"

    @property
    def name(self) -> str:
        """The request ID as posted, with characters that cannot be seen as escapes."""
        return visible(self.request_id) or "no request ID"

    @property
    def whole_size_bytes(self) -> int:
        """How many bytes were posted."""
        return len(self.raw) if self.size_bytes is None else self.size_bytes

    @property
    def is_whole(self) -> bool:
        """Whether all bytes that were posted are kept."""
        return len(self.raw) == self.whole_size_bytes


class UnkeptRefusals(models.Model):
    """How many posted receipts of a node were refused for a reason on a UTC day, but not kept: the day was full."""

    pk = models.CompositePrimaryKey("node_id", "org_id", "day", "reason")
    node_id = models.CharField(max_length=64)
    org_id = models.UUIDField()
    day = models.DateField()
    reason = models.CharField(max_length=32, choices=RefusalReason.choices)
    count = models.BigIntegerField()

    objects = UnkeptRefusalsQuerySet.as_manager()

    class Meta:
        ordering = ["-day", "node_id", "reason"]
        indexes = [models.Index(fields=["day"], name="unkept_refusals_by_day")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.day}: {self.count} {self.reason}"
