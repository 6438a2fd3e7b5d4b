"""What an admin does to a node."""

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
    """Takes a node out of service. The reason is required and goes into the audit log."""
    _moderate(node, Event.QUARANTINED_BY_ADMIN, by=by, reason=reason, at=at)


def clear(*, node: Node, by: User, reason: str, at: datetime) -> None:
    """Ends a quarantine by judgement: the node starts again as registered and must pass its probes.

    R is computed first: what is known now is what the admin judges, and only what comes later counts anew.
    A finding of fraud about it is cleared in the same transaction; once confirmed it raises NotPossible.
    """
    recompute(at=at, node_ids=[node.pk])
    with transaction.atomic():
        _moderate(node, Event.CLEARED_BY_ADMIN, by=by, reason=reason, at=at)
        settle_for_clear(node=node, by=by, reason=reason.strip(), at=at)


def _moderate(node: Node, event: Event, *, by: User, reason: str, at: datetime) -> None:
    if not reason.strip():
        raise NotPossible("Say why; the reason goes into the audit log.")
    outcome = happen(node.pk, event, by=actor_of(by), at=at, reason=reason.strip())
    if outcome.move is None:
        raise NotPossible(f"A node that is {outcome.state.phase.status.label.lower()} cannot do that.")
