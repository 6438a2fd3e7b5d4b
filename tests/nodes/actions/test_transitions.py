"""Concurrent status changes, and moderation by admins."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from django.db import connections
from django.utils import timezone

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM
from nodes import actions
from nodes.models import Node, NodeTransition
from nodes.rules.lifecycle import Event, Status
from tests.factories import NodeFactory, UserFactory


def together(events: list[Event], node: Node) -> list[bool]:
    """Applies all events at once. Returns which of them moved the node."""
    start = threading.Barrier(len(events))

    def one(event: Event) -> bool:
        try:
            start.wait()
            return actions.happen(node.pk, event, by=SYSTEM, at=timezone.now()).move is not None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(one, events))


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_wins_a_transition() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    assert sum(together([Event.SILENT] * 16, node)) == 1
    assert NodeTransition.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_failed_probes_are_all_counted() -> None:
    node = NodeFactory.create(status=Status.PENDING, probing_since=timezone.now())
    assert sum(together([Event.PROBE_FAILED] * 3, node)) == 1
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE


@pytest.mark.django_db(transaction=True)
def test_forgery_and_clearing_at_once_never_leave_half_a_state() -> None:
    for _ in range(5):
        node = NodeFactory.create(status=Status.QUARANTINE)
        together([Event.RECEIPT_FORGED, Event.CLEARED_BY_ADMIN, Event.HEARTBEAT, Event.AUDIT_PASSED], node)
        node.refresh_from_db()
        assert (node.fraud, node.status) in {(True, "quarantine"), (False, "pending"), (False, "quarantine")}
        path = [(t.from_status, t.to_status) for t in node.transitions.order_by("id")]
        assert all(before[1] == after[0] for before, after in pairwise(path))


@pytest.mark.django_db
def test_admins_quarantine_and_clear_are_audited_with_the_reason() -> None:
    admin, node = UserFactory.create(role=Role.ADMIN), NodeFactory.create(status=Status.ACTIVE)
    actions.quarantine(node=node, by=admin, reason="odd latencies", at=timezone.now())
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE
    actions.clear(node=node, by=admin, reason="explained", at=timezone.now())
    node.refresh_from_db()
    assert (node.status, node.probing_since) == (Status.PENDING, None)
    ended, began = AuditEvent.objects.filter(subject_id=node.pk)
    assert (began.verb, began.reason, began.actor_id) == ("node.quarantine", "odd latencies", admin.email)
    assert (ended.verb, ended.reason) == ("node.quarantine_ended", "explained")


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["", "  \n"])
def test_moderation_needs_a_reason(reason: str) -> None:
    with pytest.raises(actions.NotPossible):
        actions.quarantine(
            node=NodeFactory.create(status=Status.ACTIVE),
            by=UserFactory.create(role=Role.ADMIN),
            reason=reason,
            at=timezone.now(),
        )
    assert not NodeTransition.objects.exists()


@pytest.mark.django_db
def test_what_the_state_does_not_allow_is_said() -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    with pytest.raises(actions.NotPossible, match="active"):
        actions.clear(node=NodeFactory.create(status=Status.ACTIVE), by=admin, reason="x", at=timezone.now())
    with pytest.raises(actions.NotPossible):
        actions.quarantine(
            node=NodeFactory.create(status=Status.QUARANTINE), by=admin, reason="x", at=timezone.now()
        )
