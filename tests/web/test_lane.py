"""The ingress lane: its answers are those of the DRF endpoints, on its own server and with many requests at once."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from django.utils import timezone

from jatevo.lane.application import Lane
from jatevo.web.errors import ApiError
from jatevo.web.gathering import Later, TooManyWaiting
from nodes import actions
from nodes.ingress.gathered import gather
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.ingress.signed import Answer, Answered, SignedRequest
from nodes.models import Node, NodeTransition
from nodes.rules.lifecycle import Status
from receipts.actions import accept
from receipts.models import Receipt, ReceiptIdentity, RefusedReceipt
from receipts.posting import RECEIPTS
from tests.factories import NodeFactory, UserFactory, signed_receipt
from tests.lane import ENDPOINTS, AtOnce, LaneClient, beat, signed
from tests.machines import SignedSender
from tests.web.test_machine_requests import CASES, Machines, answer_without_the_moment

UNLIMITED = {"node": "100000/second", "receipts": "100000/second", "address": "100000/second"}
# what the lane does not take
_ELSEWHERE = ("assignments", "registration", "unsigned", "form", "crash")


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sends what follows through the lane."""
    return lambda: monkeypatch.setattr(SignedSender, "lane", LaneClient())


@pytest.mark.django_db
@pytest.mark.parametrize("case", [case for case in CASES if not any(word in case for word in _ELSEWHERE)])
def test_answers_are_those_of_the_endpoints(case: str, lane: Callable[[], None]) -> None:
    machines = Machines()
    by_endpoint = CASES[case](machines)
    lane()
    by_lane = CASES[case](machines)
    status, headers, body = answer_without_the_moment(by_endpoint)
    status_of_lane, headers_of_lane, body_of_lane = answer_without_the_moment(by_lane)
    assert (status_of_lane, body_of_lane) == (status, body)
    of_drf = {"allow", "vary"}
    assert headers.items() - {(name, headers.get(name)) for name in of_drf} <= headers_of_lane.items()


def status_of(answered: Answered | Later[Answered]) -> int:
    assert isinstance(answered, (Answer, ApiError))
    return answered.status


@pytest.mark.django_db
def test_each_of_a_group_is_judged_alone() -> None:
    good, other, late, offline = (NodeFactory.create(status=Status.ACTIVE) for _ in range(4))
    Node.objects.filter(pk=offline.pk).update(status=Status.OFFLINE)
    machines = {node.pk: SignedSender.node(node) for node in (good, other, late, offline)}
    machines[late.pk].beat(ts=time.time() + 5)
    stranger = SignedSender("X-Node-Id", "nobody", b"k" * 32)
    forged = SignedSender("X-Node-Id", good.pk, b"k" * 32)
    group = [
        signed(machines[good.pk], beat(good)),
        signed(stranger, {"node_id": "nobody"}),
        signed(forged, beat(good)),
        signed(machines[other.pk], beat(good)),
        signed(machines[other.pk], {"node_id": other.pk, "ts": "now"}),
        signed(machines[late.pk], beat(late)),
        signed(machines[offline.pk], beat(offline)),
        signed(machines[good.pk], beat(good), message_id="msg_twice"),
        signed(machines[good.pk], beat(good), message_id="msg_twice"),
    ]
    answers = HEARTBEATS.answer(group)
    assert [status_of(each) for each in answers] == [200, 401, 401, 403, 422, 409, 200, 200, 409]
    assert isinstance(answers[6], Answer)
    assert answers[6].body["status"] == "pending"
    good.refresh_from_db()
    assert good.beats == 2, "both of its heartbeats, in their order"


@pytest.mark.django_db
def test_fleet_that_comes_back_takes_as_many_statements_as_two_nodes() -> None:
    def statements(count: int) -> int:
        nodes = [NodeFactory.create(status=Status.OFFLINE) for _ in range(count)]
        group = [signed(SignedSender.node(node), beat(node)) for node in nodes]
        with connection.execute_wrapper(counting := Counting()):
            assert [status_of(each) for each in HEARTBEATS.answer(group)] == [200] * count
        assert NodeTransition.objects.filter(node__in=nodes, to_status="probing").count() == count
        return counting.count

    assert statements(2) == statements(40)


class Counting:
    """Counts statements."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], *rest: Any) -> Any:
        self.count += 1
        return execute(*rest)


@pytest.mark.django_db
@override_settings(RATE_LIMITS=UNLIMITED | {"node": "3/hour"})
def test_limit_counts_each_of_a_group_and_what_is_over_it_may_come_again() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    group = [signed(machine, beat(node)) for _ in range(5)]
    assert [status_of(each) for each in HEARTBEATS.answer(group)] == [200, 200, 200, 429, 429]
    with override_settings(RATE_LIMITS=UNLIMITED):
        assert [status_of(each) for each in HEARTBEATS.answer(group)] == [409, 409, 409, 200, 200]


@pytest.mark.django_db
@override_settings(RATE_LIMITS=UNLIMITED | {"node": "1/hour", "receipts": "1/hour"})
def test_a_thousand_forged_posts_change_nothing_of_their_victim() -> None:
    reputation = Decimal("71.25")
    victim = NodeFactory.create(status=Status.ACTIVE, reputation=reputation, last_heartbeat_at=timezone.now())
    own, forger = SignedSender.node(victim), SignedSender("X-Node-Id", victim.pk, b"k" * 32)
    before = Node.objects.filter(pk=victim.pk).values().get()
    for endpoint, body in ((HEARTBEATS, beat(victim)), (RECEIPTS, signed_receipt(victim.pk))):
        for group in range(2):
            # among them the ids that the victim is going to use
            ids = [f"msg_{group * 250 + number}" for number in range(250)]
            answers = endpoint.answer([signed(forger, body, message_id=message_id) for message_id in ids])
            assert {status_of(each) for each in answers} == {401}
    assert Node.objects.filter(pk=victim.pk).values().get() == before
    assert not victim.transitions.exists()
    assert not RefusedReceipt.objects.exists()
    (answer,) = HEARTBEATS.answer([signed(own, beat(victim), message_id="msg_7")])
    assert status_of(answer) == 200
    (answer,) = RECEIPTS.answer([signed(own, signed_receipt(victim.pk), message_id="msg_8")])
    assert status_of(answer) == 201
    (answer,) = HEARTBEATS.answer([signed(own, beat(victim))])
    assert status_of(answer) == 429, "the limit holds: it was the forged posts that did not count"


@pytest.mark.django_db
@override_settings(RATE_LIMITS=UNLIMITED)
def test_one_receipt_twice_in_a_group_is_accepted_once() -> None:
    node, other = (NodeFactory.create(status=Status.ACTIVE) for _ in range(2))
    machine = SignedSender.node(node)
    receipt = signed_receipt(node.pk, request_id="r_same")
    changed = signed_receipt(node.pk, request_id="r_same", tokens_output=1)
    group = [
        signed(machine, receipt),
        signed(machine, receipt),
        signed(machine, {"receipts": [changed, receipt, signed_receipt(node.pk)]}),
        signed(SignedSender.node(other), signed_receipt(other.pk, request_id="r_same", hedged=True)),
    ]
    answers = RECEIPTS.answer(group)
    assert [status_of(each) for each in answers] == [201, 200, 200, 201]
    assert isinstance(answers[2], Answer)
    assert [each["status"] for each in answers[2].body["results"]] == [409, 200, 201]
    assert Receipt.objects.count() == ReceiptIdentity.objects.count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize("endpoint", [HEARTBEATS, RECEIPTS], ids=lambda each: each.path)
def test_token_that_was_replaced_meanwhile_writes_nothing(endpoint: Any) -> None:
    node, other = (NodeFactory.create(status=Status.ACTIVE) for _ in range(2))
    bodies = {
        each.pk: beat(each) if endpoint is HEARTBEATS else signed_receipt(each.pk) for each in (node, other)
    }
    group = [signed(SignedSender.node(each), bodies[each.pk]) for each in (node, other)]
    callers = endpoint.admit(group)
    actions.rotate_token(node=node, by=UserFactory.create(), at=node.created_at)
    refused, taken = endpoint.take(list(zip(group, callers, strict=True)))
    if endpoint is HEARTBEATS:
        assert (refused.status, refused.type) == (401, "invalid_token")
    else:
        assert (refused.status, refused.type) == (401, "invalid_token")
        assert not Receipt.objects.filter(node_id=node.pk).exists()
    assert taken.status in (200, 201)
    node.refresh_from_db()
    assert node.last_heartbeat_at is None


@pytest.mark.django_db
def test_one_that_fails_for_itself_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(5)]
    group = [signed(SignedSender.node(node), signed_receipt(node.pk)) for node in nodes]

    def fragile(*, posts: Any, at: Any) -> Any:
        if any(post.caller.node_id == nodes[3].pk for post in posts):
            raise ValueError("a bug")
        return accept(posts=posts, at=at)

    monkeypatch.setattr("receipts.posting.accept", fragile)
    assert [status_of(each) for each in RECEIPTS.answer(group)] == [201, 201, 201, 500, 201]
    monkeypatch.undo()
    assert [status_of(each) for each in RECEIPTS.answer(group)] == [409, 409, 409, 201, 409]


@pytest.mark.django_db
def test_store_that_does_not_answer_is_a_503_for_all_and_all_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(5)]
    group = [signed(SignedSender.node(node), signed_receipt(node.pk)) for node in nodes]
    asked = []

    def down(**_: Any) -> None:
        asked.append(1)
        raise OperationalError("down")

    monkeypatch.setattr("receipts.posting.accept", down)
    assert [status_of(each) for each in RECEIPTS.answer(group)] == [503] * 5
    assert len(asked) == 1, "a store that is down is not asked for each"
    monkeypatch.undo()
    assert [status_of(each) for each in RECEIPTS.answer(group)] == [201] * 5


@pytest.mark.django_db(transaction=True)
def test_group_does_not_wait_for_a_row_that_somebody_else_has_locked() -> None:
    locked, free = (NodeFactory.create(status=Status.ACTIVE) for _ in range(2))
    group = [signed(SignedSender.node(node), beat(node)) for node in (locked, free)]
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Node.objects.select_for_update().get(pk=locked.pk)
                held.set()
                done.wait(30)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert held.wait(30)
        waiting, answered = HEARTBEATS.answer(group)
        done.set()
        holding.result()
    assert status_of(answered) == 200
    assert isinstance(waiting, Later)
    assert status_of(waiting.answer()) == 200
    locked.refresh_from_db()
    assert locked.beats == 1


@pytest.mark.django_db(transaction=True)
@override_settings(RATE_LIMITS=UNLIMITED)
def test_many_clients_at_once_are_all_answered_by_the_lane() -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(30)]
    beats = gather(HEARTBEATS)
    posts = gather(RECEIPTS)

    async def story() -> list[Answered]:
        asked = []
        for _ in range(4):
            for node in nodes:
                machine = SignedSender.node(node)
                asked.append(beats.ask(signed(machine, beat(node))))
                asked.append(posts.ask(signed(machine, signed_receipt(node.pk))))
            await asyncio.sleep(0)
        return list(await asyncio.gather(*asked))

    answers = asyncio.run(story())
    beats.close()
    posts.close()
    assert {status_of(each) for each in answers} == {200, 201}
    assert Receipt.objects.count() == 4 * len(nodes)
    assert {node.beats for node in Node.objects.all()} <= {1, 2, 3, 4}


def post_at_once(lane: Lane, pieces: Sequence[bytes]) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Status, headers and body of the answer to an unsigned heartbeat whose body comes in these pieces."""
    coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    coming[-1]["more_body"] = False
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    headers = {"host": "testserver", "content-type": "application/json", "transfer-encoding": "chunked"}
    scope = {
        "type": "http", "method": "POST", "path": HEARTBEATS.path, "query_string": b"", "client": ("::1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        asyncio.run(lane(scope, receive, send))
    return said[0]["status"], dict(said[0]["headers"]), json.loads(said[1]["body"])


class Full(AtOnce):
    async def ask(self, question: SignedRequest) -> Answered:
        raise TooManyWaiting


class Polite(AtOnce):
    async def ask(self, question: SignedRequest) -> Answered:
        return Answer({"bytes": len(question.body)})


def test_full_queue_is_a_503_that_may_come_again() -> None:
    status, headers, body = post_at_once(Lane(ENDPOINTS, asks=Full), [b"{}"])
    assert (status, body["error"]["type"]) == (503, "unavailable")
    assert headers[b"retry-after"]


def test_memory_for_bodies_is_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jatevo.lane.application.MOST_BYTES_HELD", 1000)
    lane = Lane(ENDPOINTS, asks=Polite)
    for _ in range(3):
        assert post_at_once(lane, [b"[", b" " * 998, b"]"])[0] == 200
        assert post_at_once(lane, [b"[", b" " * 999, b"]"])[0] == 503
