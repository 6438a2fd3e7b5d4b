"""What machines publish to the event bus is taken as if they had posted it, once, and acknowledged then."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone
from prometheus_client import REGISTRY

from jatevo.bus.consuming import Bus
from jatevo.bus.judging import Message, Verdict
from jatevo.bus.models import MessageKind, ParkedMessage
from nodes.models import Node, Probe
from receipts.actions import accept
from receipts.models import Dispatch, Receipt, ReceiptIdentity
from tests.bus.conftest import Consuming
from tests.bus.publishing import EventBus, eventually
from tests.factories import GatewayFactory, ValidatorFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db(transaction=True)

TEN_A_SECOND = "10/second"  # twice as many as usual, so that a test waits half as long for a backlog


def beat(node: Node, **changes: Any) -> dict[str, Any]:
    return {"node_id": node.pk, "ts": time.time(), "metrics": {"uptime": 1}, **changes}


def test_each_kind_is_taken_and_leaves_the_stream(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    validator = SignedSender.validator(ValidatorFactory.create())
    gateway = SignedSender.gateway(GatewayFactory.create())
    receipt = signed_receipt(node.pk)
    probe = {"node_id": node.pk, "kind": "latency", "ok": True, "ts": time.time(), "p95": 20.0}
    dispatch = {"request_id": "r_1", "node_id": node.pk, "model_id": "llama3.1-8b", "ts": time.time()}
    with consuming():
        bus.publish(machine, MessageKind.HEARTBEATS, beat(node))
        bus.publish(machine, MessageKind.RECEIPTS, receipt)
        bus.publish(validator, MessageKind.PROBES, probe)
        bus.publish(gateway, MessageKind.DISPATCHES, {"dispatches": [dispatch]})
        eventually(lambda: bus.left() == 0)
    node.refresh_from_db()
    assert node.last_heartbeat_at is not None
    assert Receipt.objects.get().request_id == receipt["request_id"]
    assert Probe.objects.get().node_id == node.pk
    assert Dispatch.objects.get().request_id == "r_1"
    assert not ParkedMessage.objects.exists()


def test_what_waited_for_a_consumer_is_taken(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.RATE_LIMITS, "receipts", TEN_A_SECOND)
    for _ in range(30):
        bus.publish(machine, MessageKind.RECEIPTS, {"receipts": [signed_receipt(node.pk) for _ in range(3)]})
    with consuming():  # most of them come again
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 90
    assert not ParkedMessage.objects.exists()


def test_a_backlog_over_the_limit_is_taken_at_the_limit(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that wait do not all come again in the same moment, of which a few would be taken."""
    asked: list[float] = []
    delay_of = Bus._delay

    def note(self: Bus, message: Message, verdict: Verdict) -> float:
        if verdict.wait_seconds:  # a store that is late delays a message too
            asked.append(delay_of(self, message, verdict))
        return 0.01

    monkeypatch.setattr(Bus, "_delay", note)
    monkeypatch.setitem(settings.RATE_LIMITS, "receipts", TEN_A_SECOND)
    for _ in range(20):
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
    with consuming():
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 20
    assert all(delay >= 1 for delay in asked), "not before the limit's second is over"
    assert len(set(asked)) == len(asked) > 0


def test_a_message_that_was_published_twice_is_taken_once(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    validator = SignedSender.validator(ValidatorFactory.create())
    receipt, heartbeat = signed_receipt(node.pk), beat(node)
    probe = {"node_id": node.pk, "kind": "latency", "ok": True, "ts": time.time()}
    with consuming():
        for _ in range(2):
            bus.publish(machine, MessageKind.RECEIPTS, receipt, message_id="msg_r")
            bus.publish(machine, MessageKind.HEARTBEATS, heartbeat, message_id="msg_h")
            bus.publish(validator, MessageKind.PROBES, probe, message_id="msg_p")
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == ReceiptIdentity.objects.count() == Probe.objects.count() == 1
    node.refresh_from_db()
    assert node.beats == 1
    assert not ParkedMessage.objects.exists()


def test_a_message_that_was_posted_before_is_taken_once(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    receipt = signed_receipt(node.pk)
    assert machine.send("/v1/receipts", receipt, message_id="msg_same").status_code == 201
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, receipt, message_id="msg_same")
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 1
    assert not ParkedMessage.objects.exists()


def test_a_message_that_was_claimed_but_not_recorded_is_taken(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process that a machine had posted it to was killed before it committed."""
    receipt = signed_receipt(node.pk)
    monkeypatch.setattr("nodes.ingress.signed.forget_sights", lambda _: None)
    monkeypatch.setattr("receipts.posting.accept", _down)
    assert machine.send("/v1/receipts", receipt, message_id="msg_lost").status_code == 503
    monkeypatch.undo()
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, receipt, message_id="msg_lost")
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 1


def test_a_taken_message_cannot_be_posted_again(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    receipt = signed_receipt(node.pk)
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, receipt, message_id="msg_same")
        eventually(lambda: bus.left() == 0)
    answer = machine.send("/v1/receipts", receipt, message_id="msg_same")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "replayed_request")


def _down(**_: Any) -> None:
    raise OperationalError("down")


def test_without_postgresql_messages_come_again_and_none_is_lost(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def down(**_: Any) -> None:
        refused.append(1)
        raise OperationalError("down")

    monkeypatch.setattr("receipts.posting.accept", down)
    with consuming():
        for _ in range(3):
            bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: len(refused) > 10)
        assert bus.left() == 3
        monkeypatch.setattr("receipts.posting.accept", accept)
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 3
    assert not ParkedMessage.objects.exists()


def test_a_message_that_waited_is_judged_by_the_time_at_which_it_was_stored(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
    bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk), at=time.time() - 301)
    later = time.time() + 3600
    monkeypatch.setattr("nodes.ingress.authentication.time.time", lambda: later)
    with consuming():
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == 1
    assert ParkedMessage.objects.get().error_type == "clock_skew", "it was old when it was published"


def test_a_probe_that_waited_is_judged_by_the_time_at_which_it_was_stored(
    bus: EventBus, consuming: Consuming, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = SignedSender.validator(ValidatorFactory.create())
    probe = {"node_id": node.pk, "kind": "latency", "ok": True, "ts": time.time()}
    bus.publish(validator, MessageKind.PROBES, probe)
    bus.publish(validator, MessageKind.PROBES, probe | {"ts": time.time() - 301})
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr("nodes.ingress.probes.timezone.now", lambda: later)
    with consuming():
        eventually(lambda: bus.left() == 0)
    assert Probe.objects.count() == 1
    assert ParkedMessage.objects.get().error_message.endswith("ts is not the present time")


def test_a_heartbeat_that_waited_does_not_say_that_its_node_lives(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outdated() -> float:
        labels = {"kind": "heartbeats", "outcome": "outdated"}
        return REGISTRY.get_sample_value("bus_messages_total", labels) or 0.0

    before = outdated()
    bus.publish(machine, MessageKind.HEARTBEATS, beat(node))
    later = timezone.now() + timedelta(seconds=61)
    monkeypatch.setattr("jatevo.bus.consuming.timezone.now", lambda: later)
    with consuming():
        eventually(lambda: bus.left() == 0)
    node.refresh_from_db()
    assert node.last_heartbeat_at is None
    assert outdated() == before + 1
    assert not ParkedMessage.objects.exists()


def test_messages_come_one_by_one_too(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    with consuming():
        for number in range(1, 4):
            bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
            eventually(partial(is_taken, number))
        eventually(lambda: bus.left() == 0)


def is_taken(count: int) -> bool:
    return Receipt.objects.count() == count
