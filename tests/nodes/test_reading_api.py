"""GET /v1/nodes and below: which rows and members each reader sees."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Role, User
from nodes import actions
from nodes.models import Node, NodeStanding
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, UserFactory
from tests.machines import bearer

pytestmark = pytest.mark.django_db


def get(user: User, path: str = "/v1/nodes", **query: Any) -> Any:
    return Client().get(path, query, headers=bearer(user))


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create(
        status=Status.ACTIVE, wallet_chain="solana", wallet_address="So1ana", endpoint="http://10.0.0.7:11435"
    )
    admin = UserFactory.create(role=Role.ADMIN, email="the.admin@example.org")
    actions.quarantine(node=made, by=admin, reason="suspected collusion", at=timezone.now())
    return made


def test_owner_sees_wallet_endpoint_and_the_reason(node: Node) -> None:
    body = get(UserFactory.create(org=node.org), f"/v1/nodes/{node.pk}").json()
    assert body["wallet"] == {"chain": "solana", "address": "So1ana"}
    assert body["endpoint"] == "http://10.0.0.7:11435"
    assert body["transitions"][0]["evidence"]["note"] == "suspected collusion"
    assert body["keys"][0]["public_key"].startswith("ed25519:")


def test_a_viewer_of_a_granted_node_sees_no_name_wallet_or_evidence(node: Node) -> None:
    viewer = UserFactory.create(role=Role.VIEWER)
    assert get(viewer, f"/v1/nodes/{node.pk}").status_code == 404
    assign_perm("nodes.view_node", viewer, node)
    assert get(viewer, f"/v1/nodes/{node.pk}").status_code == 404  # not shared by its operator
    Node.objects.update(shared=True)
    answer = get(viewer, f"/v1/nodes/{node.pk}")
    assert answer.status_code == 200
    for private in (b"the.admin@example.org", b"collusion", b"So1ana", b"10.0.0.7"):
        assert private not in answer.content
    assert answer.json()["transitions"][0]["to_status"] == "quarantine"
    assert [line["node_id"] for line in get(viewer).json()["results"]] == [node.pk]


def test_operator_cannot_see_rival_node(node: Node) -> None:
    rival = UserFactory.create()
    assert get(rival).json()["results"] == []
    assert get(rival, f"/v1/nodes/{node.pk}").status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "active"}, {"a1"}),
        ({"region": "us-east"}, {"b2"}),
        ({"runtime": "vllm"}, {"b2"}),
        ({"q": "A1"}, {"a1"}),
        ({"reputation_range": "40-90"}, {"b2"}),
        ({}, {"a1", "b2"}),
    ],
)
def test_filters(query: dict[str, str], expected: set[str]) -> None:
    operator = UserFactory.create()
    NodeFactory.create(id="a1", org=operator.org, status=Status.ACTIVE)
    NodeFactory.create(id="b2", org=operator.org, region="us-east", runtime="vllm", reputation="55")
    assert {line["node_id"] for line in get(operator, **query).json()["results"]} == expected


def test_a_figure_says_how_well_it_is_known_and_when() -> None:
    operator, now = UserFactory.create(), timezone.now()
    ages = {"fresh": timedelta(0), "old": timedelta(days=3), "unprobed": timedelta(0)}
    for node_id, age in ages.items():
        p95_ms = None if node_id == "unprobed" else 5.0
        node = NodeFactory.create(id=node_id, org=operator.org)
        NodeStanding.objects.create(node=node, p95_ms=p95_ms, uptime_7d=1.0, as_of=now - age)
    NodeFactory.create(id="unheard", org=operator.org)
    lines = {line["node_id"]: line for line in get(operator).json()["results"]}
    for node_id, figure in {
        "fresh": (5.0, "known"), "old": (5.0, "stale"), "unprobed": (None, "unknown"), "unheard": (None, "unknown")
    }.items():  # fmt: skip
        detail = get(operator, f"/v1/nodes/{node_id}").json()
        for body in (lines[node_id], detail):
            assert (body["p95_ms"], body["figures_state"]) == figure
            assert datetime.fromisoformat(body["figures_as_of"]) >= now - ages.get(node_id, timedelta(0))
        assert (detail["latency"] is None) == (figure[0] is None)
    assert datetime.fromisoformat(lines["old"]["figures_as_of"]) == now - timedelta(days=3)


def test_pages_by_cursor() -> None:
    operator = UserFactory.create()
    for number in range(5):
        NodeFactory.create(id=f"n{number}", org=operator.org)
    first = get(operator, limit=3).json()
    second = get(operator, limit=3, cursor=first["next"]).json()
    assert [line["node_id"] for line in first["results"] + second["results"]] == [f"n{n}" for n in range(5)]
    assert second["next"] is None


@pytest.mark.parametrize("query", [{"status": "sleeping"}, {"reputation_range": "90-40"}, {"runtime": "x"}])
def test_bad_parameter_is_named(query: dict[str, str]) -> None:
    answer = get(UserFactory.create(), **query)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["error"]["details"]] == list(query)
