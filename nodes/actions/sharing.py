"""Showing a node to viewers and visitors under a pseudonym. Off by default; the operator decides."""

from datetime import datetime

from django.db import transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from nodes.actions.errors import NotPossible
from nodes.models import Node


def share(*, node: Node, by: User, at: datetime) -> None:
    """Shows the node to viewers and visitors. Raises NotPossible if it is already shared."""
    _set(node, to=True, verb="node.share", refusal="This node is already shared.", by=by, at=at)


def unshare(*, node: Node, by: User, at: datetime) -> None:
    """Stops showing the node to viewers and visitors, at once. Raises NotPossible if it is not shared."""
    _set(node, to=False, verb="node.unshare", refusal="This node is not shared.", by=by, at=at)


def _set(node: Node, *, to: bool, verb: str, refusal: str, by: User, at: datetime) -> None:
    with transaction.atomic():
        if not Node.objects.filter(pk=node.pk, shared=not to).update(shared=to):
            raise NotPossible(refusal)
        record(
            verb,
            by=actor_of(by),
            subject_kind="node",
            subject_id=node.pk,
            org_id=node.org_id,
            pseudonym=node.pseudonym,
            decided_at=at.isoformat(),
        )
    node.shared = to
