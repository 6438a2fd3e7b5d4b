"""A process remembers the versions of tokens for heartbeats, and a change elsewhere holds at once all the same.

Nothing tells the process that a token was replaced: `rotate_token` might as well have been called in another one.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.web import throttling
from jatevo.web.errors import ApiError
from jatevo.wire.webhook import request_digest
from nodes import actions
from nodes.ingress import authentication
from nodes.ingress.authentication import MOST_BYTES_BY_MEMORY, REMEMBERED_TOKENS
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.ingress.token_versions import TokenVersions
from nodes.models import Node
from nodes.rules.credentials import derive_secret
from nodes.rules.lifecycle import Status
from receipts.posting import RECEIPTS
from tests.factories import NodeFactory, UserFactory, signed_receipt
from tests.lane import beat, signed
from tests.machines import Answer, SignedSender

pytestmark = pytest.mark.django_db
on_both_adapters = pytest.mark.usefixtures("both_adapters")

LIMITS = {"node": "100000/second", "receipts": "100000/second", "address": "100000/second"}


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE)


def replaced(node: Node) -> SignedSender:
    """The node's sender with a new token."""
    actions.rotate_token(node=node, by=UserFactory.create(), at=timezone.now())
    return SignedSender.node(node)


def refusal_of(answer: Answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["type"]


def heard(node: Node) -> float | None:
    return Node.objects.get(pk=node.pk).last_heartbeat_ts


def statuses(group: list[Any]) -> list[int]:
    return [getattr(each, "status", 0) for each in HEARTBEATS.answer(group)]


def reads(act: Callable[[], object]) -> int:
    """How often PostgreSQL is asked for versions of tokens."""
    with CaptureQueriesContext(connection) as asked:
        act()
    return sum(each["sql"].startswith("SELECT id, token_version") for each in asked)


@on_both_adapters
def test_new_token_is_accepted_at_once(node: Node) -> None:
    assert SignedSender.node(node).beat().status_code == 200
    assert replaced(node).beat().status_code == 200


@on_both_adapters
def test_old_token_is_refused_at_once(node: Node) -> None:
    old = SignedSender.node(node)
    assert old.beat().status_code == 200
    before = heard(node)
    new = replaced(node)
    for _ in range(3):
        assert refusal_of(old.beat()) == (401, "invalid_token")
    assert heard(node) == before
    assert new.beat().status_code == 200
    assert refusal_of(old.beat()) == (401, "invalid_token")


ABUSES: dict[str, Callable[[SignedSender], Answer]] = {
    "a heartbeat": lambda old: old.beat(),
    "one that says nonsense": lambda old: old.beat(metrics=[]),
    "one of another node": lambda old: old.beat(node_id="somebody-else"),
    "one ahead of time": lambda old: old.beat(ts=4_000_000_000),
    "one again": lambda old: old.send("/v1/nodes/heartbeat", {}, message_id="msg_once"),
}


@on_both_adapters
@pytest.mark.parametrize("abuse", ABUSES)
def test_old_token_spends_the_limit_of_its_node_once_at_most(node: Node, abuse: str) -> None:
    old = SignedSender.node(node)
    with override_settings(RATE_LIMITS=LIMITS | {"node": "3/hour"}):
        assert old.beat().status_code == 200
        new = replaced(node)
        assert ABUSES[abuse](old).status_code in (401, 403, 422)
        for _ in range(5):
            assert refusal_of(ABUSES[abuse](old)) == (401, "invalid_token")
        assert new.beat().status_code == 200
        assert refusal_of(old.beat()) == (401, "invalid_token")
        assert new.beat().status_code == 429


@on_both_adapters
def test_old_token_over_the_limit_is_refused_for_its_signature_from_then_on(node: Node) -> None:
    old = SignedSender.node(node)
    with override_settings(RATE_LIMITS=LIMITS | {"node": "1/hour"}):
        assert old.beat().status_code == 200
        replaced(node)
        assert [old.beat().status_code for _ in range(3)] == [429, 401, 401]


@on_both_adapters
def test_old_token_that_is_late_too_is_not_told_the_time(node: Node) -> None:
    old = SignedSender.node(node)
    assert old.beat().status_code == 200
    replaced(node)
    late = old.send("/v1/nodes/heartbeat", beat(node), at=time.time() - 3600)
    assert refusal_of(late) == (401, "invalid_token")


@on_both_adapters
def test_node_that_is_gone_is_refused(node: Node) -> None:
    machine = SignedSender.node(node)
    assert machine.beat().status_code == 200
    Node.objects.filter(pk=node.pk).delete()
    for _ in range(2):
        assert refusal_of(machine.beat()) == (401, "invalid_token")


@on_both_adapters
def test_node_that_was_unknown_is_accepted_once_it_is_there() -> None:
    secret = derive_secret(settings.MASTER_KEY, "node", "not-yet", 1)
    machine = SignedSender("X-Node-Id", "not-yet", secret)
    assert refusal_of(machine.beat()) == (401, "invalid_token")
    NodeFactory.create(id="not-yet")
    assert machine.beat().status_code == 200


def test_both_tokens_in_a_group_are_told_apart(node: Node) -> None:
    old = SignedSender.node(node)
    assert old.beat().status_code == 200
    new = replaced(node)
    group = [signed(old, beat(node)), signed(new, beat(node)), signed(old, beat(node))]
    assert statuses(group) == [401, 200, 401]


def test_second_group_asks_postgresql_once_less() -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(3)]
    machines = [SignedSender.node(node) for node in nodes]

    def statements() -> int:
        group = [signed(machine, beat(node)) for machine, node in zip(machines, nodes, strict=True)]
        with CaptureQueriesContext(connection) as asked:
            assert statuses(group) == [200] * 3
        return len(asked)

    Node.objects.update(endpoint="http://203.0.113.9:11435", reachable=True, reachable_since=timezone.now())
    first = statements()
    assert [statements(), statements()] == [first - 1] * 2


def test_all_that_does_not_fit_is_read_at_once() -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(4)]
    known, rotated, forged, fresh = nodes
    assert statuses([signed(SignedSender.node(node), beat(node)) for node in nodes[:3]]) == [200] * 3
    group = [
        signed(SignedSender.node(known), beat(known)),
        signed(replaced(rotated), beat(rotated)),
        signed(SignedSender("X-Node-Id", forged.pk, b"k" * 32), beat(forged)),
        signed(SignedSender.node(fresh), beat(fresh)),
        signed(SignedSender("X-Node-Id", "nobody", b"k" * 32), beat(fresh)),
    ]
    assert reads(lambda: statuses(group)) == 1
    again = [signed(SignedSender.node(node), beat(node)) for node in nodes]
    assert reads(lambda: statuses(again)) == 0
    assert "nobody" not in REMEMBERED_TOKENS.of(["nobody"])


def test_receipts_ask_each_time(node: Node) -> None:
    """What stores refusals of receipts does not compare the version."""
    machine = SignedSender.node(node)
    assert machine.beat().status_code == 200
    replaced(node)
    (refused,) = RECEIPTS.answer([signed(machine, signed_receipt(node.pk))])
    assert isinstance(refused, ApiError)
    assert (refused.status, str(refused)) == (401, str(authentication._wrong()))


def test_receipts_of_nodes_with_old_and_new_tokens_are_told_apart(node: Node) -> None:
    """Those that fit what is remembered have keys all the same, beside one that does not fit."""
    steady, old = NodeFactory.create(status=Status.ACTIVE), SignedSender.node(node)
    assert [SignedSender.node(steady).beat().status_code, old.beat().status_code] == [200, 200]
    new = replaced(node)
    group = [
        signed(SignedSender.node(steady), signed_receipt(steady.pk)),
        signed(old, signed_receipt(node.pk)),
        signed(new, signed_receipt(node.pk)),
    ]
    answers = RECEIPTS.answer(group)
    assert [getattr(each, "status", 0) for each in answers] == [201, 401, 201]


def test_unknown_sender_takes_as_long_as_a_wrong_signature(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests: list[bytes] = []

    def counted(secret: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
        digests.append(body)
        return request_digest(secret, message_id, timestamp, body)

    monkeypatch.setattr(authentication, "request_digest", counted)

    def work(sender: str) -> tuple[int, int]:
        digests.clear()
        forged = signed(SignedSender("X-Node-Id", sender, b"k" * 32), beat(node))
        return reads(lambda: statuses([forged])), len(digests)

    unknown = work("nobody")
    not_remembered = work(node.pk)
    remembered = work(node.pk)
    assert unknown == not_remembered == remembered == (1, 2)


def test_only_so_many_are_remembered_and_those_heard_last_stay() -> None:
    versions = TokenVersions(2)
    versions.learn(["a", "b"], {"a": 1, "b": 2})
    assert versions.of(["a"]) == {"a": 1}
    versions.learn(["c"], {"c": 3})
    assert versions.of(["a", "b", "c"]) == {"a": 1, "c": 3}
    versions.learn(["a", "c"], {"a": 4})
    assert versions.of(["a", "b", "c"]) == {"a": 4}
    versions.forget("a")
    assert versions.of(["a"]) == {}


@on_both_adapters
def test_address_over_its_limit_is_refused_and_costs_the_node_nothing(node: Node) -> None:
    machine = SignedSender.node(node)
    with override_settings(RATE_LIMITS=LIMITS | {"address": "2/hour", "node": "3/hour"}):
        assert [machine.beat().status_code for _ in range(4)] == [200, 200, 429, 429]
    with override_settings(RATE_LIMITS=LIMITS | {"node": "3/hour"}):
        assert [machine.beat().status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(("known", "trips"), [(True, 1), (False, 2)])
def test_heartbeats_that_fit_what_is_remembered_ask_redis_once(
    node: Node, known: bool, trips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known:
        assert SignedSender.node(node).beat().status_code == 200
    asked: list[object] = []

    def ask(*words: Any) -> list[int]:
        asked.append(words)
        return real(*words)

    real = throttling._Script._ask
    monkeypatch.setattr(throttling._Script, "_ask", staticmethod(ask))
    assert statuses([signed(SignedSender.node(node), beat(node))]) == [200]
    assert len(asked) == trips


def test_ended_token_is_forgotten_if_heartbeats_cannot_be_recorded(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SignedSender.node(node)
    assert old.beat().status_code == 200
    replaced(node)

    def fail(**_: Any) -> list[Any]:
        raise OperationalError("PostgreSQL is away")

    with monkeypatch.context() as patch:
        patch.setattr(actions, "heartbeats", fail)
        assert statuses([signed(old, beat(node))] * 2) == [503, 409]
    assert REMEMBERED_TOKENS.of([node.pk]) == {}
    assert statuses([signed(old, beat(node))]) == [401]


@pytest.mark.parametrize("size", [100, MOST_BYTES_BY_MEMORY])
def test_large_bodies_are_not_hashed_for_an_address_over_its_limit(
    node: Node, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SignedSender.node(node).beat().status_code == 200
    digests: list[bytes] = []

    def counted(secret: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
        digests.append(body)
        return request_digest(secret, message_id, timestamp, body)

    monkeypatch.setattr(authentication, "request_digest", counted)
    large = signed(SignedSender.node(node), {**beat(node), "x": "y" * size})
    with override_settings(RATE_LIMITS=LIMITS | {"address": "1/hour"}):
        throttling.hit("address", "127.0.0.1")
        assert statuses([large]) == [429]
    assert len(digests) == (1 if size < MOST_BYTES_BY_MEMORY else 0)


def test_message_of_a_stream_with_an_ended_token_names_nobody(node: Node) -> None:
    """What is wrong with it is of no interest: whoever has an ended token is not the node."""
    old = SignedSender.node(node)
    assert old.beat().status_code == 200
    replaced(node)
    said = replace(signed(old, {**beat(node), "metrics": []}), stored_at=time.time())
    assert statuses([said]) == [401]
