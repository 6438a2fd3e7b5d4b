"""The configuration of NATS in deploy/nats: machines may publish, and touch nothing of what others have published."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from jatevo.bus import stream
from jatevo.bus.models import MessageKind
from nodes.models import Node
from nodes.rules.lifecycle import Status
from receipts.models import Receipt
from tests.bus import nats_server
from tests.bus.conftest import consumer
from tests.bus.nats_server import NatsServer
from tests.bus.publishing import WAIT_SECONDS, EventBus, eventually
from tests.factories import NodeFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server with that configuration."""
    server = nats_server.start_as_shipped(tmp_path_factory.mktemp("nats"))
    yield server
    nats_server.stop(server)


@pytest.fixture
def machines(shipped: NatsServer) -> EventBus:
    return EventBus(shipped.machines_url)


def test_what_machines_publish_is_taken(shipped: NatsServer, machines: EventBus) -> None:
    node: Node = NodeFactory.create(status=Status.ACTIVE)
    batch = {"receipts": [signed_receipt(node.pk, **{"x-pad": "x" * 4000}) for _ in range(300)]}
    with consumer(shipped.console_url):
        eventually(lambda: exists(EventBus(shipped.console_url)))
        machines.publish(SignedSender.node(node), MessageKind.RECEIPTS, batch)
        eventually(lambda: Receipt.objects.count() == 300)


def exists(console: EventBus) -> bool:
    """Whether the consumer has made the stream. The console's inboxes have a prefix of their own."""

    async def ask(client: Client) -> bool:
        return stream.STREAM in [info.config.name for info in await client.jetstream().streams_info()]

    return console.connected(ask, inbox_prefix=stream.INBOX_PREFIX)


async def _delete(client: Client) -> None:
    await client.jetstream(timeout=0.5).delete_stream(stream.STREAM)


async def _purge(client: Client) -> None:
    await client.jetstream(timeout=0.5).purge_stream(stream.STREAM)


async def _take(client: Client) -> None:
    await client.request(
        f"$JS.API.CONSUMER.MSG.NEXT.{stream.STREAM}.{stream.durable_name(MessageKind.RECEIPTS)}", b""
    )


async def _read(client: Client) -> None:
    await client.jetstream(timeout=0.5).get_msg(stream.STREAM, 1)


@pytest.mark.parametrize("act", [_delete, _purge, _take, _read], ids=lambda act: act.__name__.strip("_"))
def test_machines_cannot_touch_the_stream(
    machines: EventBus, act: Callable[[Client], Awaitable[None]]
) -> None:
    problems: list[str] = []

    async def note(error: Exception) -> None:
        problems.append(str(error).lower())

    with pytest.raises(nats.errors.TimeoutError):
        machines.connected(act, error_cb=note)
    assert any("permissions violation for publish" in problem for problem in problems), problems


def test_machines_cannot_acknowledge_or_overhear(machines: EventBus) -> None:
    problems: list[str] = []

    async def note(error: Exception) -> None:
        problems.append(str(error))

    async def overhear(client: Client) -> None:
        async def heard(_: Msg) -> None: ...

        for subject in (">", "jatevo.>", f"{stream.INBOX_PREFIX}.>", "$JS.>"):
            await client.subscribe(subject, cb=heard)
        for subject in ("$JS.ACK.JATEVO.jatevo-receipts.1.1.1.1.0", f"{stream.INBOX_PREFIX}.x", "_INBOX.x"):
            await client.publish(subject, b"")
        await client.flush()
        async with asyncio.timeout(WAIT_SECONDS):
            while len(problems) < 7:  # the client tells them in their own time
                await asyncio.sleep(0.01)

    machines.connected(overhear, error_cb=note)
    refused = [problem for problem in problems if "permissions violation" in problem.lower()]
    assert len(refused) == 7, problems
