"""Traces of a test, as a receiver in another process got them."""

from collections.abc import Callable, Iterator

import pytest

from jatevo.telemetry import tracing
from jatevo.telemetry.exporting import OtlpSender
from tests.metrics.conftest import chdb_store
from tests.telemetry.otlp_receiver import ReceivedSpan, Receiver, receiving

__all__ = ["chdb_store"]  # a fixture

Collected = Callable[[], list[ReceivedSpan]]


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def sender(receiver: Receiver) -> Iterator[OtlpSender]:
    """Records what the test does, if a caller asks for it."""
    receiver.forget()
    sender = OtlpSender(receiver.url, service="jatevo-test", ratio=0.0, most_per_second=1000)
    tracing.send_to(sender)
    yield sender
    tracing.send_to(None)
    sender.close()


@pytest.fixture
def collected(sender: OtlpSender, receiver: Receiver) -> Collected:
    """The spans so far, in the order in which they ended."""

    def ask() -> list[ReceivedSpan]:
        sender.flush()
        return receiver.spans()

    return ask
