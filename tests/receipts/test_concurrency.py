"""What the database settles between concurrent posts."""

import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from django.db import connections
from django.test import override_settings

from jatevo.metrics.models import Outbox
from jatevo.wire import signing
from nodes.models import NodeTransition
from nodes.rules.lifecycle import Status
from receipts.models import Receipt, RefusedReceipt, UnjudgedReceipt
from tests.factories import NodeFactory, receipt_payload, signed_receipt, signing_key_of
from tests.machines import Answer, SignedSender

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_adapters")]
URL = "/v1/receipts"
TRIES = 20
UNLIMITED = {"node": "100000/second", "receipts": "100000/second", "address": "100000/second"}


def post_together(machines: list[SignedSender], bodies: list[bytes], url: str = URL) -> list[Answer]:
    """Sends all bodies at the same moment, each from a thread of its own.

    Whoever is answered 503, as the contract has it where a lock is waited for too long, sends again.
    """
    start = threading.Barrier(len(bodies))

    def send(machine: SignedSender, body: bytes) -> Answer:
        try:
            start.wait()
            answer = machine.send(url, body)
            for _ in range(TRIES):
                if answer.status_code != 503:
                    break
                answer = machine.send(url, body)
            return answer
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, machines, bodies))


@override_settings(RATE_LIMITS=UNLIMITED)
def test_fifty_identical_posts_make_one_row_and_one_201() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    payload = signed_receipt(node.pk)
    body = orjson.dumps(payload)
    answers = post_together([SignedSender.node(node) for _ in range(50)], [body] * 50)
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    said = {"request_id": payload["request_id"], "node_id": node.pk, "verified": True}
    for answer in answers:
        assert answer.json() == said | {"duplicate": answer.status_code == 200}
    assert Receipt.objects.count() == Outbox.objects.count() == 1
    changed = orjson.dumps(signed_receipt(node.pk, request_id=payload["request_id"], tokens_output=1))
    assert SignedSender.node(node).send(URL, changed).status_code == 409


@override_settings(RATE_LIMITS=UNLIMITED)
def test_fifty_different_contents_of_one_id_leave_one_winner() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    bodies = [orjson.dumps(signed_receipt(node.pk, request_id="r_one", tokens_output=n)) for n in range(50)]
    answers = post_together([SignedSender.node(node) for _ in bodies], bodies)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    (receipt,) = Receipt.objects.all()
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 201)
    assert receipt.tokens_output == winner


@override_settings(RATE_LIMITS=UNLIMITED)
def test_hedged_requests_of_many_nodes_are_all_kept_and_queued() -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(20)]
    bodies = [orjson.dumps(signed_receipt(node.pk, request_id="r_hedged", hedged=True)) for node in nodes]
    answers = post_together([SignedSender.node(node) for node in nodes], bodies)
    assert [answer.status_code for answer in answers] == [201] * 20
    assert Receipt.objects.count() == UnjudgedReceipt.objects.count() == 20


@override_settings(RATE_LIMITS=UNLIMITED)
def test_overlapping_batches_in_opposite_order_do_not_deadlock() -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(4)]
    ids = [f"r_{number:03d}" for number in range(60)]
    machines, bodies = [], []
    for node in nodes:
        batch = [signing.sign(receipt_payload(node.pk, request_id=i), signing_key_of(node.pk)) for i in ids]
        for ordered in (batch, batch[::-1]):
            machines.append(SignedSender.node(node))
            bodies.append(orjson.dumps({"receipts": ordered}))
    answers = post_together(machines, bodies)
    assert [answer.status_code for answer in answers] == [200] * 8
    statuses = [result["status"] for answer in answers for result in answer.json()["results"]]
    assert statuses.count(201) == 240
    assert statuses.count(200) == 240
    assert Receipt.objects.count() == UnjudgedReceipt.objects.count() == 240


@override_settings(RATE_LIMITS=UNLIMITED)
def test_concurrent_forgeries_make_one_transition() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    forged = signing.sign(receipt_payload(node.pk), signing_key_of("somebody else"))
    answers = post_together([SignedSender.node(node) for _ in range(20)], [orjson.dumps(forged)] * 20)
    assert [answer.status_code for answer in answers] == [422] * 20
    assert NodeTransition.objects.filter(node=node).count() == 1
    assert RefusedReceipt.objects.count() == 1
