"""What machines publish to the event bus is taken as if they had posted it."""

import time
from typing import Any

import pytest
from django.utils import timezone

from jatevo.bus.models import MessageKind, ParkedMessage
from nodes.models import Node, Probe
from nodes.rules.lifecycle import Status
from receipts.models import Dispatch, Receipt
from tests.bus.conftest import Consuming
from tests.bus.publishing import EventBus, eventually
from tests.factories import GatewayFactory, NodeFactory, ValidatorFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create(status=Status.ACTIVE)
    return made


@pytest.fixture
def machine(node: Node) -> SignedSender:
    return SignedSender.node(node)


def drained(bus: EventBus) -> None:
    eventually(lambda: bus.left() == 0)


def test_receipt_is_taken_with_its_exact_bytes(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    receipt = signed_receipt(node.pk)
    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, receipt)
        drained(bus)
    assert Receipt.objects.get().request_id == receipt["request_id"]
    assert not ParkedMessage.objects.exists()
