"""Heartbeats are recorded by one statement. The transitions and challenges that follow fail alone."""

import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.web.postgresql.budgets import INGEST
from nodes.actions import Beat, SentBeat, TakenHeartbeat, heartbeats
from nodes.models import Challenge, Node, NodeTransition
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.sessions import session

MODULE = sys.modules[Beat.__module__]  # its name in the package is that of a function
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def nodes() -> list[Node]:
    """A node that comes back and two in service. The last has no endpoint, so that it is asked something."""
    reached: dict[str, Any] = {"reachable": True, "reachable_since": timezone.now()}
    return [
        NodeFactory.create(status=Status.OFFLINE, **reached),
        NodeFactory.create(status=Status.ACTIVE, **reached),
        NodeFactory.create(status=Status.ACTIVE, endpoint=""),
    ]


def beat(nodes: list[Node]) -> list[TakenHeartbeat | Exception]:
    sent = [SentBeat(node.pk, Beat(ts=time.time(), metrics={})) for node in nodes]
    return heartbeats(sent=sent, at=timezone.now())


def recorded(nodes: list[Node]) -> list[bool]:
    found = dict(Node.objects.values_list("pk", "last_heartbeat_ts"))
    return [found[node.pk] is not None for node in nodes]


def failing(*, losing: bool) -> Callable[..., Any]:
    """Fails in the database, and loses the connection if asked to."""

    def fail(**_: Any) -> None:
        with connection.cursor() as cursor:
            if losing:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            cursor.execute("SELECT 1 / 0")

    return fail


def test_all_of_it_takes_three_statements_and_nothing_around_them(nodes: list[Node]) -> None:
    with CaptureQueriesContext(connection) as asked:
        taken = beat(nodes)
    statuses = [each.status for each in taken if isinstance(each, TakenHeartbeat)]
    assert statuses == ["pending", "active", "active"]
    assert Challenge.objects.get() == getattr(taken[2], "challenge", None)
    assert NodeTransition.objects.get().to_status == "probing"
    assert len(asked) == 3 and all(each["sql"].lstrip().startswith("WITH") for each in asked)


def test_heartbeats_from_which_nothing_follows_take_one_statement(nodes: list[Node]) -> None:
    with CaptureQueriesContext(connection) as asked:
        beat(nodes[1:2])
    assert len(asked) == 1


def test_nodes_that_cannot_be_asked_are_heard_all_the_same(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "ask_due", failing(losing=False))
    taken = beat(nodes)
    assert [isinstance(each, TakenHeartbeat) and each.challenge is None for each in taken] == [True] * 3
    assert recorded(nodes) == [True, True, True]


def test_transition_that_fails_concerns_its_nodes_alone(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "heard_again", failing(losing=False))
    taken = beat(nodes)
    assert [isinstance(each, Exception) for each in taken] == [True, False, False]
    assert recorded(nodes) == [True, True, True]
    assert Challenge.objects.count() == 1


@pytest.mark.parametrize("part", ["ask_due", "heard_again"])
def test_part_that_takes_all_the_time_there_is_costs_the_heartbeats_nothing(
    nodes: list[Node], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def sleep(**_: Any) -> None:
        tried.append(part)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(MODULE, part, sleep)
    with session(INGEST):
        beat(nodes)
    assert recorded(nodes) == [True, True, True]
    assert tried == [part]


@pytest.mark.parametrize("part", ["ask_due", "heard_again"])
def test_part_with_which_the_connection_is_lost_is_left_out(
    nodes: list[Node], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, part, failing(losing=True))
    taken = beat(nodes)
    assert [isinstance(each, TakenHeartbeat) for each in taken] == [part == "ask_due", True, True]
    assert recorded(nodes) == [True, True, True]


def test_a_locked_node_keeps_none_of_its_group_waiting(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited for the row while the heartbeat had it has it as soon as that is recorded."""
    nodes.append(NodeFactory.create(status=Status.OFFLINE))
    other = psycopg.connect(**connection.get_connection_params())
    real = MODULE.heard_again

    def after_somebody_else(**its: Any) -> None:
        other.execute("SELECT FROM nodes_node WHERE id = %s FOR UPDATE", [nodes[0].pk])
        real(**its)

    monkeypatch.setattr(MODULE, "heard_again", after_somebody_else)
    try:
        with session(INGEST):
            begun = time.monotonic()
            taken = beat(nodes)
            assert time.monotonic() - begun < INGEST.lock_seconds
    finally:
        other.close()
    assert all(isinstance(each, TakenHeartbeat) for each in taken)
    assert [move.node_id for move in NodeTransition.objects.all()] == [nodes[-1].pk]
    monkeypatch.setattr(MODULE, "heard_again", real)
    beat(nodes[:1])
    assert NodeTransition.objects.filter(node=nodes[0]).count() == 1, "its next heartbeat does it"


def test_parts_that_fail_one_after_the_other_cost_the_heartbeats_nothing(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "heard_again", failing(losing=True))
    monkeypatch.setattr(MODULE, "ask_due", failing(losing=True))
    taken = beat(nodes)
    assert [isinstance(each, TakenHeartbeat) for each in taken] == [False, True, True]
    assert recorded(nodes) == [True, True, True]
    assert not Challenge.objects.exists()
    assert not NodeTransition.objects.exists()


def test_without_its_connection_nothing_is_taken_for_recorded(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "fetch", failing_fetch)
    with pytest.raises(OperationalError):
        beat(nodes)
    connection.close()
    assert recorded(nodes) == [False, False, False]
    assert not Challenge.objects.exists()


def failing_fetch(*_: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    return []
