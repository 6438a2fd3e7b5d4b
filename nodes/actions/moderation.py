"""Quarantining and clearing nodes, as admins do."""

from datetime import datetime

from django.db import transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of
from nodes.actions.errors import NotPossible
from nodes.actions.fraud import settle_for_clear
from nodes.actions.reputation import recompute
from nodes.actions.transition import happen
from nodes.models import Node
from nodes.rules.lifecycle import Event


def quarantine(*, node: Node, by: User, reason: str, at: datetime) -> None:
    """Takes a node out of service. A reason is required. It is written to the audit log."""
    _moderate(node, Event.QUARANTINED_BY_ADMIN, by=by, reason=reason, at=at)


def clear(*, node: Node, by: User, reason: str, at: datetime) -> None:
    """Ends a quarantine by an admin's decision. The node starts again as registered and must pass its probes.

    R is recomputed first, so that it includes everything known at the time of the decision. An open finding
    of fraud about the node is cleared in the same transaction. Raises NotPossible if a finding is confirmed.
    """
    recompute(at=at, node_ids=[node.pk])
    with transaction.atomic():
        _moderate(node, Event.CLEARED_BY_ADMIN, by=by, reason=reason, at=at)
        settle_for_clear(node=node, by=by, reason=reason.strip(), at=at)


def _moderate(node: Node, event: Event, *, by: User, reason: str, at: datetime) -> None:
    if not reason.strip():
        raise NotPossible("Enter a reason. It is recorded in the audit log.")
    outcome = happen(node.pk, event, by=actor_of(by), at=at, reason=reason.strip())
    if outcome.move is None:
        raise NotPossible(
            f"This is not possible while its status is {outcome.state.phase.status.label.lower()}."
        )
