"""Accepted receipts. Identities detect duplicates across partitions; receipts keep the evidence."""

import uuid
from dataclasses import dataclass
from typing import Self

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Now
from django.utils.functional import cached_property

from jatevo.accounts.models import Role, User
from jatevo.web.postgresql.replica import reading_connection
from jatevo.web.postgresql.statements import fetch
from nodes.models import Node, NodeKey


class ReceiptIdentity(models.Model):
    """`(node_id, request_id)` and the SHA-256 of the bytes: one row per receipt, kept for ever.

    The table is not partitioned, so that the database can refuse a second receipt with the same identity in
    any month.
    """

    pk = models.CompositePrimaryKey("node_id", "request_id")
    node_id = models.CharField(max_length=64)
    request_id = models.CharField(max_length=128)
    sha256 = models.BinaryField(max_length=32)
    accepted_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["request_id"], name="receipt_identity_request"),
            # a third of the size of a B-tree, and as quick to find the one row
            HashIndex(fields=["sha256"], name="receipt_identity_sha256"),
        ]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id}"


@dataclass(frozen=True)
class Sight:
    """Which receipts a person may see: all, or those of `nodes`.

    With `org_id`, only those that the nodes served for that organisation, or before acceptance recorded one.
    """

    everything: bool
    nodes: models.QuerySet[Node]
    org_id: uuid.UUID | None = None

    def includes(self, receipt: "Receipt") -> bool:
        """Whether the receipt is among them."""
        if self.everything:
            return True
        served = receipt.org_id is None or self.org_id is None or receipt.org_id == self.org_id
        return served and self.nodes.filter(pk=receipt.node_id).exists()


def sight_of(user: object) -> Sight:
    """The receipts a person may see: all for an admin, else those of nodes whose id the person may know.

    The signed content of a receipt contains the node's id, so it cannot be shown under a pseudonym. What a node
    did for its former organisation, operators of its present one do not see: it tells what that one earned.
    """
    if isinstance(user, User) and user.is_active and user.role == Role.ADMIN:
        return Sight(True, Node.objects.all())
    named = Node.objects.named_to(user)
    if isinstance(user, User) and user.role == Role.OPERATOR:
        return Sight(False, named, user.org_id)
    return Sight(False, named)


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def visible_to(self, user: object) -> Self:
        """The receipts a person may see (`sight_of`)."""
        sight = sight_of(user)
        if sight.everything:
            return self
        found = self.filter(node_id__in=sight.nodes.values("pk"))
        if sight.org_id is not None:
            found = found.filter(models.Q(org_id=sight.org_id) | models.Q(org_id=None))
        return found

    def with_bytes(self, sha256: bytes) -> Self:
        """The receipt whose exact bytes have this SHA-256. Its identity leads to the partition that holds it."""
        times = ReceiptIdentity.objects.filter(sha256=sha256).values("accepted_at")
        return self.filter(accepted_at__in=times, sha256=sha256)


class Receipt(models.Model):
    """An accepted receipt, in a partition by month of `accepted_at`.

    `raw` has the exact bytes as posted, which the signature and the log leaf cover. `payload` is for queries
    only, because JSONB merges duplicate keys and rewrites numbers.
    """

    pk = models.CompositePrimaryKey("accepted_at", "id")
    id = models.BigIntegerField()
    accepted_at = models.DateTimeField()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="receipts", db_constraint=False)
    request_id = models.CharField(max_length=128)
    region = models.CharField(max_length=32)
    model_id = models.CharField(max_length=128)
    ts_start = models.DateTimeField()
    ts_end = models.DateTimeField()
    tokens_input = models.BigIntegerField()
    tokens_output = models.BigIntegerField()
    p95_ms = models.FloatField()
    hedged = models.BooleanField()
    cache_hit = models.BooleanField()
    failed = models.BooleanField()
    node_status = models.CharField(max_length=12)  # the node's status when the receipt was accepted
    # the node's status at ts_end, by its transitions: '' before the first; null in rows from before this
    # column
    node_status_at_end = models.CharField(max_length=12, null=True)
    # the key that verified it, current or former; the node's NodeKey says when it was current
    public_key = models.BinaryField(max_length=32)
    # Facts by which earnings judge, as acceptance knew them. Null in rows from before these columns.
    key_since = models.DateTimeField(null=True)  # when that key became current
    key_until = models.DateTimeField(null=True)  # when it stopped being current; null also while it is
    org_id = models.UUIDField(null=True)  # the node's organisation
    concurrency = models.PositiveSmallIntegerField(null=True)  # requests that the node serves at once
    sha256 = models.BinaryField(max_length=32)
    raw = models.BinaryField()
    payload = models.JSONField()

    objects = ReceiptQuerySet.as_manager()

    class Meta:
        # migration 0002 creates the table in SQL, because Django cannot create partitioned tables
        ordering = ["-accepted_at", "-id"]

    def __str__(self) -> str:
        return f"{self.node_id}/{self.request_id}"

    @cached_property
    def key(self) -> NodeKey | None:
        """The key that verified it, as it is on record for the node."""
        return NodeKey.objects.filter(node_id=self.node_id, public_key=bytes(self.public_key)).first()

    @cached_property
    def identity(self) -> ReceiptIdentity | None:
        """What is recorded of it in the table of identities."""
        return ReceiptIdentity.objects.filter(node_id=self.node_id, request_id=self.request_id).first()


# What is read of a receipt that is looked up. Its payload is in the bytes too.
_READ = [field.attname for field in Receipt._meta.concrete_fields if field.attname != "payload"]
# The identity leads to the one partition that holds the receipt. It is materialized, so that PostgreSQL does not look for
# the id in the index of each.
_IDENTIFIED = f"""
WITH identity AS MATERIALIZED (
    SELECT node_id, request_id, sha256, accepted_at FROM receipts_receiptidentity WHERE node_id = %s AND request_id = %s
)
SELECT identity.sha256, key.id, key.valid_from, key.valid_to, {", ".join(f"receipt.{name}" for name in _READ)}
FROM identity
JOIN receipts_receipt AS receipt ON receipt.accepted_at = identity.accepted_at
    AND receipt.node_id = identity.node_id AND receipt.request_id = identity.request_id
LEFT JOIN nodes_nodekey AS key ON key.node_id = receipt.node_id AND key.public_key = receipt.public_key
"""  # noqa: S608 - the columns of a model


def find_receipt(user: object, node_id: str, request_id: str) -> Receipt | None:
    """The receipt with its identity and key, or None if there is none or the person may not see it.

    Two statements, one for an admin.
    """
    server = reading_connection()
    rows = fetch(_IDENTIFIED, [node_id, request_id], on=server)
    if not rows:
        return None
    sha256, key_id, valid_from, valid_to, *values = rows[0]
    receipt = Receipt.from_db(server.alias, _READ, values)
    receipt.identity = ReceiptIdentity(
        node_id=node_id, request_id=request_id, sha256=sha256, accepted_at=receipt.accepted_at
    )
    receipt.key = None
    if key_id is not None:
        read = ["id", "node_id", "public_key", "valid_from", "valid_to"]
        receipt.key = NodeKey.from_db(
            server.alias, read, [key_id, node_id, receipt.public_key, valid_from, valid_to]
        )
    return receipt if sight_of(user).includes(receipt) else None
