"""A node changes hands: it belongs to another organisation from now on."""

from datetime import datetime

from django.db import transaction

from jatevo.accounts.models import Org, User
from jatevo.audit.record import actor_of, record
from nodes.actions.errors import NotPossible
from nodes.models import Node


def move(*, node: Node, org: Org, by: User, at: datetime) -> None:
    """Makes it the organisation's. Raises NotPossible if the node is already its own.

    Findings of fraud about the node follow it: from now on they concern what its new organisation registers. Nodes
    that such a finding holds stay held until an admin clears them.
    """
    with transaction.atomic():
        before = Node.objects.select_for_update(no_key=True).get(pk=node.pk).org_id
        if before == org.pk:
            raise NotPossible("This node belongs to that organisation already.")
        Node.objects.filter(pk=node.pk).update(org=org)
        record(
            "node.move",
            by=actor_of(by),
            subject_kind="node",
            subject_id=node.pk,
            org_id=org.pk,
            before=str(before),
            after=str(org.pk),
            decided_at=at.isoformat(),
        )
    node.org = org
