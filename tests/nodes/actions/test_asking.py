"""Asking a node that is not reachable for one request and its receipt ("Prove it")."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from nodes import actions
from nodes.models import Challenge, Node, Probe
from nodes.rules.lifecycle import Status
from nodes.sweeper import sweep
from tests.factories import NodeFactory, UserFactory
from tests.nodes.challenged import OUTPUT, asked, asked_surely, reply
from tests.nodes.ingress.test_probes import hour_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return UserFactory.create()


@pytest.fixture
def node(clock: time_machine.Traveller, owner: User) -> Node:
    """Active, not reachable, heard now, and asked for its health a moment ago."""
    now = timezone.now()
    return NodeFactory.create(
        org=owner.org, status=Status.ACTIVE, reachable=False, reachable_since=now, last_heartbeat_at=now,
        challenged_at=now, challenge_audited_at=now,
    )  # fmt: skip


def ask(node: Node, by: User, request_id: str = "prove-1") -> Challenge:
    return actions.ask(node=node, prompt="Say hello.", request_id=request_id, by=by, at=timezone.now())


def test_the_next_heartbeat_takes_it_along_once(
    clock: time_machine.Traveller, node: Node, owner: User
) -> None:
    made = ask(node, owner)
    clock.shift(4)
    challenge = asked_surely(node)
    assert (challenge["id"], challenge["prompt"], challenge["request_id"]) == (
        str(made.pk),
        "Say hello.",
        "prove-1",
    )
    clock.shift(2)
    assert asked(node) is None
    assert reply(node, challenge, **OUTPUT).json()["passed"] is True
    made.refresh_from_db()
    assert (made.outcome, made.answer_ms, made.tokens_output) == ("passed", 2000.0, 5)
    assert hour_of(node) == {"health_passed": 1}
    event = AuditEvent.objects.get(verb="node.ask")
    assert (event.actor_id, event.details["request_id"]) == (owner.email, "prove-1")


def test_an_answer_without_an_output_fails_the_proof_and_costs_nothing(
    clock: time_machine.Traveller, node: Node, owner: User
) -> None:
    made = ask(node, owner)
    assert reply(node, asked_surely(node)).json()["passed"] is False
    made.refresh_from_db()
    assert made.outcome == "failed"
    assert (hour_of(node), Probe.objects.count()) == ({}, 0)


def test_a_proof_that_is_not_answered_costs_nothing(
    clock: time_machine.Traveller, node: Node, owner: User
) -> None:
    made = ask(node, owner)
    asked_surely(node)
    clock.shift(30)
    asked(node)
    sweep(at=timezone.now())
    clock.shift(31)
    sweep(at=timezone.now())
    made.refresh_from_db()
    assert made.outcome == "expired"
    assert (hour_of(node), node.transitions.count()) == ({}, 0)


def test_a_proof_that_no_heartbeat_took_along_is_void_and_may_be_asked_again(
    clock: time_machine.Traveller, node: Node, owner: User
) -> None:
    first = ask(node, owner)
    clock.shift(61)
    assert "challenge" not in (asked(node) or {})
    second = ask(node, owner, "prove-2")
    first.refresh_from_db()
    assert first.outcome == "void"
    clock.shift(1)
    assert asked_surely(node)["id"] == str(second.pk)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reachable": True}, "reachable"),
        ({"last_heartbeat_at": None}, "no heartbeats"),
        ({"last_heartbeat_at": timezone.now() - timedelta(minutes=5)}, "no heartbeats"),
    ],
)
def test_what_cannot_be_asked_says_why(node: Node, owner: User, changes: dict[str, Any], why: str) -> None:
    Node.objects.filter(pk=node.pk).update(**changes)
    with pytest.raises(actions.NotPossible, match=why):
        ask(node, owner)


def test_one_proof_at_a_time(node: Node, owner: User) -> None:
    ask(node, owner)
    with pytest.raises(actions.NotPossible, match="already"):
        ask(node, owner, "prove-2")
