"""What the consumer of the event bus says about itself: traces that go on, and figures for Prometheus."""

import pytest
from prometheus_client import REGISTRY

from jatevo.bus.models import MessageKind
from nodes.models import Node
from tests.bus.conftest import Consuming
from tests.bus.publishing import EventBus, eventually
from tests.factories import signed_receipt
from tests.machines import SignedSender
from tests.telemetry.conftest import Collected, collected, receiver, sender
from tests.telemetry.test_tracing import ASKED_FOR, CALLER, TRACE

__all__ = ["collected", "receiver", "sender"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)


def test_trace_of_a_message_goes_on_from_its_publisher(
    bus: EventBus, consuming: Consuming, node: Node, collected: Collected
) -> None:
    with consuming():
        machine = SignedSender.node(node)
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk), headers=ASKED_FOR)
        bus.publish(machine, MessageKind.RECEIPTS, b"{", headers=ASKED_FOR)
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: bus.left() == 0)
    spans = [span for span in collected() if span.name == "process jatevo.receipts"]
    assert sorted(span.attributes["jatevo.outcome"] for span in spans) == ["parked", "taken"]
    assert {(span.trace_id, span.parent_id) for span in spans} == {(TRACE, CALLER)}
    groups = [span for span in collected() if span.name == "answer /v1/receipts"]
    assert groups and {span.trace_id for span in groups} == {TRACE}


def test_outcomes_are_counted_by_kind(bus: EventBus, consuming: Consuming, node: Node) -> None:
    def counted(outcome: str) -> float:
        labels = {"kind": "receipts", "outcome": outcome}
        return REGISTRY.get_sample_value("bus_messages_total", labels) or 0.0

    before = {outcome: counted(outcome) for outcome in ("taken", "parked")}
    with consuming():
        machine = SignedSender.node(node)
        for _ in range(3):
            bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        bus.publish(machine, MessageKind.RECEIPTS, b"{")
        eventually(lambda: bus.left() == 0)
    assert counted("taken") == before["taken"] + 3
    assert counted("parked") == before["parked"] + 1


def test_consumer_says_how_many_messages_wait(bus: EventBus, consuming: Consuming) -> None:
    for _ in range(3):
        bus.publish_raw(MessageKind.PROBES, b"{}", {})
    with consuming():
        eventually(lambda: REGISTRY.get_sample_value("bus_pending_messages", {"kind": "probes"}) is not None)
