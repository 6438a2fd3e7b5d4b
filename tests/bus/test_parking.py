"""Messages that are refused for good leave the stream, and people can see them."""

import time
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.db import OperationalError

from jatevo.bus import parking
from jatevo.bus.models import MessageKind, ParkedMessage, ParkedState
from jatevo.telemetry import exposition
from nodes.models import Node
from receipts.actions import accept
from receipts.models import Dispatch, Receipt
from tests.bus.conftest import Consuming
from tests.bus.publishing import EventBus, eventually
from tests.factories import GatewayFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_bad_signature_is_parked_as_nobodys_and_counted(
    bus: EventBus, consuming: Consuming, node: Node
) -> None:
    forger = SignedSender("X-Node-Id", node.pk, b"k" * 32)
    with consuming():
        number = bus.publish(forger, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: bus.left() == 0)
    parked = ParkedMessage.objects.get()
    assert (parked.kind, parked.sequence, parked.state) == ("receipts", number, ParkedState.PARKED)
    assert (parked.error_type, parked.sender) == ("invalid_token", "")
    assert parked.headers["x-node-id"] == node.pk
    assert not Receipt.objects.exists()
    sample = 'bus_parked_messages{kind="receipts",type="invalid_token"} 1.0'
    assert sample in exposition.page().decode()


def wrong(node: Node) -> dict[str, tuple[MessageKind, Any, str]]:
    return {
        "no JSON": (MessageKind.RECEIPTS, b"{", "invalid_json"),
        "another's": (MessageKind.HEARTBEATS, {"node_id": "x", "ts": time.time(), "metrics": {"uptime": 1}}, "node_mismatch"),
        "a field": (MessageKind.RECEIPTS, signed_receipt(node.pk, tokens_input=-1), "invalid_request"),
        "too large": (MessageKind.HEARTBEATS, b" " * (settings.MAX_BODY_BYTES + 1), "too_large"),
        "an item": (MessageKind.RECEIPTS, {"receipts": [signed_receipt(node.pk), {}]}, "invalid_request"),
    }  # fmt: skip


@pytest.mark.parametrize("case", ["no JSON", "another's", "a field", "too large", "an item"])
def test_what_is_refused_is_parked_with_the_reason(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, case: str
) -> None:
    kind, body, error_type = wrong(node)[case]
    with consuming():
        bus.publish(machine, kind, body)
        eventually(lambda: bus.left() == 0)
    parked = ParkedMessage.objects.get()
    assert (parked.error_type, parked.kind) == (error_type, kind)
    assert parked.error_message
    assert parked.sender == ("" if case == "too large" else node.pk)
    assert parked.is_whole == (case != "too large"), "nobody had proved to have signed it"
    assert Receipt.objects.count() == (case == "an item"), "the others of a batch are taken"


def test_a_batch_with_refused_items_says_how_many(bus: EventBus, consuming: Consuming, node: Node) -> None:
    gateway = SignedSender.gateway(GatewayFactory.create())
    good = {"request_id": "r_1", "node_id": node.pk, "model_id": "llama3.1-8b", "ts": time.time()}
    with consuming():
        bus.publish(gateway, MessageKind.DISPATCHES, {"dispatches": [good, good | {"ts": 1}, {}]})
        eventually(lambda: bus.left() == 0)
    assert ParkedMessage.objects.get().error_message.startswith("2 of 3 items were refused.")
    assert Dispatch.objects.count() == 1


def test_a_message_that_the_console_fails_on_comes_again_and_is_parked_then(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def broken(**_: Any) -> None:
        tried.append(1)
        raise ValueError("a bug")

    monkeypatch.setattr("receipts.posting.accept", broken)
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: bus.left() == 0)
    parked = ParkedMessage.objects.get()
    assert (parked.error_type, parked.sender) == ("internal_error", node.pk)
    assert tried
    assert parked.tries >= 5


@pytest.mark.parametrize(
    "headers",
    [
        b"NATS/1.0 \xff\xff\xff\r\n\r\n",
        b"NATS/1.0",
        b"x",
        b"",
        b"NATS/1.0\r\nStatus: 404\r\n\r\n",
        b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
        b"NATS/1.0\r\nX-Node-Id: \xff\xed\xa0\x80\x00\r\n\r\n",
        b"NATS/1.0\r\nx-node-id: =?utf-8?q?=ff?=\r\nwebhook-id\r\n\r\n",
    ],
)  # fmt: skip
def test_headers_that_no_client_would_send_stop_nobody(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, headers: bytes
) -> None:
    bus.publish_bytes(MessageKind.RECEIPTS, headers)
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 1
    assert ParkedMessage.objects.get().error_type == "unauthenticated"


def test_a_flood_is_kept_within_bounds(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "MOST_A_DAY", 3)
    stranger = SignedSender("X-Node-Id", "nobody", b"k" * 32)
    with consuming():
        for _ in range(8):
            bus.publish(stranger, MessageKind.RECEIPTS, b"{}")
        bus.publish(machine, MessageKind.RECEIPTS, b"{}")
        eventually(lambda: bus.left() == 0)
    kept = list(ParkedMessage.objects.values_list("sender", flat=True))
    assert kept.count(node.pk) == 1, "strangers leave room for others"
    assert kept.count("") == 3


def test_what_the_console_fails_on_is_never_dropped(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(parking, "MOST_A_DAY", 1)
    monkeypatch.setattr("receipts.posting.accept", broken)
    with consuming():
        for _ in range(3):
            bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: bus.left() == 2 and ParkedMessage.objects.count() == 1)
        monkeypatch.setattr("receipts.posting.accept", accept)
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 2


def test_a_message_that_cannot_be_parked_yet_comes_again(
    bus: EventBus, consuming: Consuming, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def down(*_: Any, **__: Any) -> bool:
        failed.append(1)
        raise OperationalError("down")

    monkeypatch.setattr("jatevo.bus.consuming.park", down)
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, b"{")
        eventually(lambda: len(failed) > 2)
        assert bus.left() == 1
        monkeypatch.setattr("jatevo.bus.consuming.park", parking.park)
        eventually(lambda: bus.left() == 0)
    assert ParkedMessage.objects.get().error_type == "invalid_json"


def test_no_signature_is_shown_or_lost(bus: EventBus, consuming: Consuming, machine: SignedSender) -> None:
    body = orjson.dumps({"not": "a receipt"})
    secrets = {"Authorization": "Bearer of-somebody", "X-Other": "1"}
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, body, headers=secrets)
        eventually(lambda: bus.left() == 0)
    parked = ParkedMessage.objects.get()
    assert set(parked.headers) == {"x-node-id", "webhook-id", "webhook-timestamp", "webhook-signature"}
    assert bytes(parked.body) == body
