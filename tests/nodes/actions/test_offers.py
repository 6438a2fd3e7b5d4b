"""The history of the models that nodes offer, through registration and heartbeats."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any
from unittest import mock

import pytest
import time_machine
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.accounts.models import Org
from nodes.models import Node, NodeOffer
from tests.factories import FIRST_KEY_SINCE, NodeFactory, UserFactory
from tests.machines import SignedSender
from tests.nodes.actions.test_enrolment import enrol, register

pytestmark = pytest.mark.django_db


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create()
    return made


def beat(node: Node, models: Sequence[str] | None, *, after: timedelta = timedelta(0)) -> datetime:
    """Sends a heartbeat with those models after some time. Returns when it was sent."""
    at = timezone.now() + after
    with time_machine.travel(at, tick=False):
        members: dict[str, Any] = {} if models is None else {"models": list(models)}
        assert SignedSender.node(node).beat(**members).status_code == 200
    return at


def offers(node: Node) -> list[tuple[str, datetime, datetime | None]]:
    rows = NodeOffer.objects.filter(node=node).order_by("id")
    return list(rows.values_list("model", "offered_from", "offered_until"))


def test_registration_begins_the_history_in_normal_form() -> None:
    token = enrol(UserFactory.create(org=Org.objects.create(name="Acme"))).json()["token"]
    answer = register(token, node_id="fresh", models=["QWEN3:latest", "qwen3", "mistral:7b"])
    assert answer.status_code == 201
    created = Node.objects.get(pk="fresh").created_at
    found = NodeOffer.objects.filter(node="fresh").values_list("model", "offered_from", "offered_until")
    assert set(found) == {("qwen3", created, None), ("mistral:7b", created, None)}


def test_heartbeat_with_other_models_ends_and_begins_offers(node: Node) -> None:
    at = beat(node, ["Mistral:latest"])
    assert offers(node) == [("llama3.1-8b", FIRST_KEY_SINCE, at), ("mistral", at, None)]
    beat(node, ["mistral"], after=timedelta(minutes=5))
    beat(node, None, after=timedelta(minutes=10))
    assert offers(node) == [("llama3.1-8b", FIRST_KEY_SINCE, at), ("mistral", at, None)]


def test_a_model_that_returns_within_a_day_continues_and_later_starts_again(node: Node) -> None:
    beat(node, [])
    beat(node, ["llama3.1-8b"], after=timedelta(hours=23))
    assert offers(node) == [("llama3.1-8b", FIRST_KEY_SINCE, None)]
    gone = beat(node, [], after=timedelta(hours=24))
    back = beat(node, ["llama3.1-8b"], after=timedelta(hours=49))
    assert offers(node) == [("llama3.1-8b", FIRST_KEY_SINCE, gone), ("llama3.1-8b", back, None)]


def test_history_that_was_left_behind_is_brought_up_to_date_by_the_next_heartbeat(node: Node) -> None:
    with mock.patch("nodes.actions.heartbeat.record_offers", side_effect=OperationalError("down")):
        assert SignedSender.node(node).beat(models=["mistral"]).status_code == 503
    assert offers(node) == [("llama3.1-8b", FIRST_KEY_SINCE, None)]
    at = beat(node, None, after=timedelta(seconds=10))
    assert offers(node) == [("llama3.1-8b", FIRST_KEY_SINCE, at), ("mistral", at, None)]


def test_heartbeat_with_the_same_models_is_one_statement(node: Node) -> None:
    with CaptureQueriesContext(connection) as caught:
        beat(node, ["llama3.1-8b"], after=timedelta(minutes=1))
    assert not [query["sql"] for query in caught if "nodeoffer" in query["sql"]]
    assert Node.objects.values_list("offers_behind", flat=True).get() is False


def test_agent_that_invents_models_cannot_fill_the_history(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("nodes.actions.offers"), "MOST_OFFERS", 5)
    for number in range(4):
        beat(node, [f"m{number}-{one}" for one in range(3)], after=timedelta(minutes=number))
    assert NodeOffer.objects.filter(node=node).count() == 1 + 5


def test_what_nodes_offer_already_begins_with_the_migration(node: Node) -> None:
    migration = import_module("nodes.migrations.0020_offers_and_doubt_so_far")
    NodeOffer.objects.all().delete()
    Node.objects.filter(pk=node.pk).update(models_offered=["QWEN3:latest", "qwen3", ":latest", "b"])
    with connection.cursor() as cursor:
        cursor.execute(migration._OFFERS)
    rows = NodeOffer.objects.filter(node=node)
    assert {row.model for row in rows} == {"qwen3", ":latest", "b"}
    assert all(row.offered_until is None and row.offered_from > FIRST_KEY_SINCE for row in rows)
