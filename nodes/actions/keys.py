"""Changing a node's HMAC token and its ed25519 key."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F

from jatevo.accounts.models import User
from jatevo.audit.record import Actor, actor_of, record
from jatevo.wire.keys import public_key_text
from nodes.actions.errors import KeyExists
from nodes.actions.fraud import note_refused_key
from nodes.models import Node, NodeKey
from nodes.tokens import node_token


def rotate_token(*, node: Node, by: User, at: datetime, reason: str = "") -> str:
    """Gives the node a new token. The old one stops working at once. `reason` is written to the audit log."""
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(token_version=F("token_version") + 1)
        record(
            "node.rotate_token",
            by=actor_of(by),
            subject_kind="node",
            subject_id=node.pk,
            org_id=node.org_id,
            reason=reason.strip(),
            rotated_at=at.isoformat(),
        )
    node.refresh_from_db(fields=["token_version"])
    return node_token(node)


def add_key(*, node: Node, public_key: bytes, by: Actor, at: datetime) -> NodeKey:
    """Makes the key the node's current one. The previous key stays on record with its dates.

    Raises KeyExists if any node, including this one, has or had the key.
    """
    try:
        with transaction.atomic():
            # the row lock puts concurrent changes in order: each one ends the key before it
            Node.objects.select_for_update().get(pk=node.pk)
            NodeKey.objects.filter(node=node, valid_to__isnull=True).update(valid_to=at)
            key = NodeKey.objects.create(node=node, public_key=public_key, valid_from=at, added_by=by.id)
            record(
                "node.add_key",
                by=by,
                subject_kind="node",
                subject_id=node.pk,
                org_id=node.org_id,
                public_key=public_key_text(public_key),
            )
    except IntegrityError as error:
        note_refused_key(public_key, node_id=node.pk, by=Actor(by.kind, by.id, by.user_id, node.org_id))
        raise KeyExists("This public key is or was in use by a node. Generate a new one.") from error
    return key
