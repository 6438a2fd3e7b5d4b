"""A refusal for want of capacity releases the webhook-id: the retry of a Standard Webhooks library is the same request."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from unittest import mock

import pytest
from django.db import OperationalError
from pytest_django import Settings
from standardwebhooks import Webhook

from jatevo.web import throttling
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, ValidatorFactory, signed_receipt
from tests.machines import Answer, SignedSender

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE)


class Message:
    """Signed once by the published library, sent as often as it takes."""

    def __init__(self, machine: SignedSender, path: str, body: object) -> None:
        self.machine = machine
        self.path = path
        self.text = json.dumps(body)
        at = datetime.fromtimestamp(int(time.time()), UTC)
        message_id = f"msg_{time.monotonic_ns()}"
        self.headers = {
            machine.header: machine.sender,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(machine.secret).sign(message_id, at, self.text),
        }

    def send(self) -> Answer:
        return self.machine.post(self.path, self.text, self.headers)


def receipt_of(node: Node) -> Message:
    return Message(SignedSender.node(node), "/v1/receipts", signed_receipt(node.pk))


def heartbeat_of(node: Node) -> Message:
    body = {"node_id": node.pk, "ts": time.time(), "metrics": {"uptime": 1, "gpu_util": 0.5}}
    return Message(SignedSender.node(node), "/v1/nodes/heartbeat", body)


@pytest.fixture(params=["with redis", "without redis"])
def redis_or_not(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both homes of the replay guard."""
    if request.param == "with redis":
        yield
        return
    with mock.patch.object(throttling, "_shared_or_alone", lambda _shared, alone: alone()):
        yield


@pytest.mark.usefixtures("redis_or_not")
def test_message_that_was_taken_is_a_replay(node: Node) -> None:
    message = receipt_of(node)
    assert message.send().status_code == 201
    again = message.send()
    assert (again.status_code, again.json()["error"]["type"]) == (409, "replayed_request")
    assert message.send().status_code == 409, "a refused replay releases nothing"


@pytest.mark.usefixtures("redis_or_not")
def test_message_that_was_too_much_is_taken_later(node: Node, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "receipts": "1/day"}
    assert receipt_of(node).send().status_code == 201
    message = receipt_of(node)
    assert [message.send().status_code for _ in range(2)] == [429, 429]
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "receipts": "5/second"}
    assert message.send().status_code == 201
    assert message.send().status_code == 409


@pytest.mark.usefixtures("redis_or_not")
@pytest.mark.parametrize(
    ("error", "status"),
    [(OperationalError("down"), 503), (RuntimeError("a bug"), 500)],
    ids=["store", "crash"],
)
def test_message_that_failed_on_our_side_is_taken_later(node: Node, error: Exception, status: int) -> None:
    for message, target in (
        (receipt_of(node), "receipts.posting.accept"),
        (heartbeat_of(node), "nodes.ingress.heartbeats.actions.heartbeats"),
    ):
        with mock.patch(target, side_effect=error):
            assert message.send().status_code == status
        assert message.send().status_code in (200, 201)
        assert message.send().status_code == 409


@pytest.mark.usefixtures("redis_or_not")
def test_validators_retry_too(node: Node) -> None:
    body = {"node_id": node.pk, "kind": "health", "ok": True, "ts": time.time()}
    message = Message(SignedSender.validator(ValidatorFactory.create()), "/v1/probes", body)
    with mock.patch("nodes.ingress.api.actions.record_probe", side_effect=OperationalError("down")):
        assert message.send().status_code == 503
    assert [message.send().status_code for _ in range(2)] == [201, 409]


@pytest.mark.usefixtures("redis_or_not")
def test_what_is_wrong_for_good_keeps_its_id(node: Node) -> None:
    message = Message(SignedSender.node(node), "/v1/receipts", {"nonsense": True})
    assert message.send().status_code == 422
    assert message.send().status_code == 409


@pytest.mark.usefixtures("redis_or_not")
def test_what_was_kept_before_a_crash_is_a_duplicate_to_postgresql(node: Node) -> None:
    message = receipt_of(node)
    with mock.patch("receipts.posting._answer", side_effect=RuntimeError("after the commit")):
        assert message.send().status_code == 500
    again = message.send()
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
