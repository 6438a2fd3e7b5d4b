"""Whether a node is reachable, as validators find it, and what it reads about itself."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, ValidatorFactory
from tests.machines import SignedSender
from tests.nodes.ingress.test_probes import hour_of, probe

pytestmark = pytest.mark.django_db


@pytest.fixture
def validator() -> SignedSender:
    return SignedSender.validator(ValidatorFactory.create())


def reachable(node: Node) -> bool | None:
    node.refresh_from_db()
    assert (node.reachable is None) == (node.reachable_since is None)
    return node.reachable


@pytest.mark.parametrize("kind", ["health", "latency", "audit"])
def test_a_passed_probe_of_a_validator_reaches_the_node(validator: SignedSender, kind: str) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    assert reachable(node) is None
    probe(validator, node, kind=kind)
    assert reachable(node) is True


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("unreachable", False), ("timeout", False), ("refused", False), ("bad_status", False), (None, False),
        ("too_slow", True), ("bad_answer", None), ("bad_signature", None), ("wrong_output", None),
        ("validator", None),
    ],
)  # fmt: skip
def test_what_a_fault_says_about_reachability(
    validator: SignedSender, fault: str | None, found: bool | None
) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    probe(validator, node, ok=False, fault=fault)
    assert reachable(node) is found


def test_the_moment_is_that_of_the_change(validator: SignedSender) -> None:
    long_ago = timezone.now() - timedelta(days=3)
    node = NodeFactory.create(status=Status.ACTIVE, reachable=True, reachable_since=long_ago)
    probe(validator, node)
    node.refresh_from_db()
    assert node.reachable_since == long_ago
    probe(validator, node, ok=False)
    node.refresh_from_db()
    assert node.reachable_since is not None
    assert node.reachable_since > long_ago


def test_a_changed_endpoint_is_not_known_to_be_reachable(validator: SignedSender) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    probe(validator, node)
    SignedSender.node(node).beat(endpoint=node.endpoint)
    assert reachable(node) is True
    SignedSender.node(node).beat(endpoint="https://elsewhere.example.org")
    assert reachable(node) is None


def test_a_node_without_an_endpoint_is_not_reachable() -> None:
    node = NodeFactory.create(endpoint="")
    sender = SignedSender.node(node)
    sender.beat()
    assert reachable(node) is False
    since = node.reachable_since
    sender.beat()
    node.refresh_from_db()
    assert node.reachable_since == since


def beyond_validators(**fields: Any) -> Node:
    now = timezone.now()
    defaults = {
        "status": Status.ACTIVE, "last_heartbeat_at": now, "challenge_passed_at": now,
        "reachable": False, "reachable_since": now,
    }  # fmt: skip
    return NodeFactory.create(**(defaults | fields))


def test_the_probes_that_do_not_reach_a_node_behind_nat_cost_it_nothing(validator: SignedSender) -> None:
    node = beyond_validators()
    for kind in ("health", "audit", "latency"):
        probe(validator, node, kind=kind, ok=False, fault="timeout")
    assert hour_of(node) == {}
    assert node.probes.filter(counts_as="").count() == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"reachable": True},
        {"challenge_passed_at": None},
        {"challenge_passed_at": timezone.now() - timedelta(minutes=6)},
        {"last_heartbeat_at": timezone.now() - timedelta(minutes=2)},
    ],
    ids=["it was reachable", "it never answered", "it answered long ago", "it is silent"],
)
def test_otherwise_a_probe_that_does_not_reach_a_node_counts(
    validator: SignedSender, fields: dict[str, Any]
) -> None:
    node = beyond_validators(**fields)
    probe(validator, node, ok=False, fault="timeout")
    assert hour_of(node) == {"health_failed": 1}


@pytest.mark.parametrize("fault", ["bad_answer", "bad_signature", "wrong_output"])
def test_being_out_of_reach_excuses_no_false_answer(validator: SignedSender, fault: str) -> None:
    node = beyond_validators()
    assert probe(validator, node, kind="audit", ok=False, fault=fault).json()["status"] == "quarantine"


def test_a_node_that_comes_back_into_reach_is_audited_at_once(validator: SignedSender) -> None:
    node = beyond_validators(last_audit_at=timezone.now(), last_latency_at=timezone.now())
    assert due(validator) == {"health"}
    probe(validator, node)
    assert due(validator) == {"audit"}
    probe(validator, node, kind="audit")
    assert due(validator) == set()


def due(validator: SignedSender) -> set[str]:
    assignments = validator.get("/v1/validators/assignments").json()["assignments"]
    return {kind for each in assignments for kind in each["due"]}


def test_a_node_reads_how_the_console_sees_it(validator: SignedSender) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    probe(validator, node, ok=False, fault="refused", detail="connection refused")
    said = SignedSender.node(node).get("/v1/nodes/self").json()
    assert said.pop("reachable_since") is not None
    assert said["last_probe"].pop("at") is not None
    advice = said.pop("advice")
    assert said == {
        "node_id": node.pk, "status": "active", "status_reason": "", "reachable": False,
        "last_heartbeat_at": None, "challenge_passed_at": None,
        "last_probe": {
            "kind": "health", "ok": False, "fault": "refused", "detail": "connection refused", "by": "validator",
        },
    }  # fmt: skip
    assert advice.startswith("Online, but it receives no requests from gateways until")
    assert "connection refused" in advice
    assert "Port forwarding" in advice


def test_a_node_without_trouble_reads_no_advice(validator: SignedSender) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    probe(validator, node)
    assert SignedSender.node(node).get("/v1/nodes/self").json()["advice"] == ""


def test_only_the_node_reads_it() -> None:
    assert Client().get("/v1/nodes/self").status_code == 401
    node = NodeFactory.create()
    answer = SignedSender("X-Node-Id", node.pk, b"another secret").get("/v1/nodes/self")
    assert answer.status_code == 401
    assert SignedSender.node(node).get("/v1/nodes/self?x=1").status_code == 422
    replay = SignedSender.node(node).headers(b"", at=time.time())
    assert [Client().get("/v1/nodes/self", headers=replay).status_code for _ in range(2)] == [200, 409]
