"""A NATS server for this run's tests of the event bus, an empty stream for each, and consumers in threads."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db import connections

from jatevo.bus import stream
from jatevo.bus.consuming import Bus
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.bus import nats_server
from tests.bus.nats_server import NatsServer
from tests.bus.publishing import WAIT_SECONDS, EventBus
from tests.factories import NodeFactory
from tests.machines import SignedSender

ACK_WAIT_SECONDS = 2.0
DELAYS = (0.05, 0.2)
PULL_SECONDS = 0.1

Consuming = Callable[[], AbstractContextManager[Bus]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    made = nats_server.start(tmp_path_factory.mktemp("nats"))
    yield made
    nats_server.stop(made)


@pytest.fixture(scope="package", autouse=True)
def short_pulls() -> Iterator[None]:
    """A consumer that is told to stop waits for the end of its pulls. Consumers that are programs of their own have
    production's.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PULL_SECONDS", PULL_SECONDS)
        yield


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create(status=Status.ACTIVE)
    return made


@pytest.fixture
def machine(node: Node) -> SignedSender:
    return SignedSender.node(node)


@pytest.fixture
def bus(server: NatsServer) -> EventBus:
    made = EventBus(server.url)
    made.make(ack_wait_seconds=ACK_WAIT_SECONDS)
    return made


@pytest.fixture
def consuming(bus: EventBus) -> Consuming:
    """A consumer that runs within the block, and drains at its end."""

    @contextmanager
    def run() -> Iterator[Bus]:
        with consumer(bus.url) as made:
            yield made

    return run


@contextmanager
def consumer(url: str) -> Iterator[Bus]:
    loop = asyncio.new_event_loop()
    made = Bus(url, ack_wait_seconds=ACK_WAIT_SECONDS)
    failed: list[BaseException] = []

    def consume() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(made.consume(delays=DELAYS))
        except BaseException as error:
            failed.append(error)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            connections.close_all()

    thread = threading.Thread(target=consume, name="consumer")
    thread.start()
    try:
        yield made
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(made.stop)
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive(), "the consumer does not end"
    if failed:
        raise failed[0]
