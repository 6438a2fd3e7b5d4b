"""Whatever ends or stands still between a machine and PostgreSQL, a message is taken once."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from io import StringIO
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from nats.aio.client import Client
from nats.aio.msg import Msg
from prometheus_client import REGISTRY

from jatevo.bus import stream
from jatevo.bus.models import MessageKind, ParkedMessage
from nodes.models import Node, Probe
from receipts.actions import accept
from receipts.models import Dispatch, Receipt, ReceiptIdentity
from tests.bus import nats_server
from tests.bus.conftest import ACK_WAIT_SECONDS, Consuming, consumer
from tests.bus.nats_server import NatsServer
from tests.bus.publishing import WAIT_SECONDS, EventBus, eventually
from tests.factories import GatewayFactory, ValidatorFactory, signed_receipt
from tests.machines import SignedSender
from tests.web.serving import BASE_DIR, services_environment

pytestmark = pytest.mark.django_db(transaction=True)

SHORT_ACK_WAIT_SECONDS = 0.3


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """A server that the test may kill. The newest is the last."""
    servers = [nats_server.start(tmp_path)]
    yield servers
    nats_server.stop(servers[-1])


def test_what_was_committed_but_not_acknowledged_comes_again_and_is_taken_once(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a consumer is killed between the two."""
    unsent = set()

    async def kill(message: Msg) -> None:
        unsent.add(message.subject)

    bus.make(ack_wait_seconds=SHORT_ACK_WAIT_SECONDS)
    validator = SignedSender.validator(ValidatorFactory.create())
    gateway = SignedSender.gateway(GatewayFactory.create())
    now = time.time()
    bus.publish(machine, MessageKind.HEARTBEATS, {"node_id": node.pk, "ts": now, "metrics": {"uptime": 1}})
    bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
    bus.publish(validator, MessageKind.PROBES, {"node_id": node.pk, "kind": "latency", "ok": True, "ts": now})
    bus.publish(
        gateway, MessageKind.DISPATCHES, {"dispatches": [{"request_id": "r", "node_id": node.pk, "model_id": "m", "ts": now}]}
    )  # fmt: skip
    monkeypatch.setattr("nats.aio.msg.Msg.ack", kill)
    with consuming():
        eventually(lambda: unsent == {kind.subject for kind in MessageKind})
    assert bus.left() == 4
    monkeypatch.undo()
    with consuming():
        eventually(lambda: bus.left() == 0)
    assert Receipt.objects.count() == ReceiptIdentity.objects.count() == 1
    assert Probe.objects.count() == Dispatch.objects.count() == 1
    node.refresh_from_db()
    assert node.beats == 1
    assert not ParkedMessage.objects.exists()


def test_what_was_parked_but_not_acknowledged_is_parked_once(
    bus: EventBus, consuming: Consuming, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsent = []

    async def kill(_: Any) -> None:
        unsent.append(1)

    bus.make(ack_wait_seconds=SHORT_ACK_WAIT_SECONDS)
    bus.publish(machine, MessageKind.RECEIPTS, b"{")
    monkeypatch.setattr("nats.aio.msg.Msg.term", kill)
    with consuming():
        eventually(lambda: bool(unsent))
    assert bus.left() == 1
    monkeypatch.undo()
    with consuming():
        eventually(lambda: bus.left() == 0)
    assert ParkedMessage.objects.get().tries > 1


def test_a_consumer_that_is_told_to_stop_finishes_what_is_under_way(
    bus: EventBus, node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(**arguments: Any) -> Any:
        entered.set()
        release.wait(WAIT_SECONDS)
        return accept(**arguments)

    monkeypatch.setattr("receipts.posting.accept", slow)
    with consumer(bus.url) as running:
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        assert entered.wait(WAIT_SECONDS)
        running.stop()
        release.set()
    assert Receipt.objects.count() == 1
    assert bus.left() == 0, "and it is acknowledged"


def test_sigterm_drains_the_process(bus: EventBus, node: Node, machine: SignedSender, tmp_path: Path) -> None:
    gateway = SignedSender.gateway(GatewayFactory.create())
    log = tmp_path / "consume.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "consume"],
            cwd=BASE_DIR,
            env=services_environment(tmp_path) | {"NATS_URL": bus.url},
            stdout=output,
            stderr=output,
        )
    published = 0
    try:
        while not Dispatch.objects.exists() or published < 30:
            assert process.poll() is None, log.read_text()
            one = {"request_id": f"r_{published}", "node_id": node.pk, "model_id": "m", "ts": time.time()}
            bus.publish(gateway, MessageKind.DISPATCHES, {"dispatches": [one]})
            published += 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert Dispatch.objects.count() == published - bus.left()
    assert "Traceback" not in log.read_text()


def test_without_an_address_it_says_what_to_set() -> None:
    with pytest.raises(CommandError, match="NATS_URL"):
        call_command("consume", stdout=StringIO())


def test_nats_may_come_later_and_may_be_killed(
    own_server: list[NatsServer], node: Node, machine: SignedSender
) -> None:
    server = own_server[0]
    nats_server.stop(server)
    with consumer(server.url):
        for number in range(1, 3):
            own_server.append(nats_server.restart(server))
            nats_server.wait_until_it_listens(own_server[-1])
            bus = EventBus(server.url)
            # the consumer has made the stream, or is about to
            eventually(partial(exists, bus))
            bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
            eventually(partial(taken, bus, number))
            eventually(lambda: waiting() >= 0)
            if number == 1:
                nats_server.stop(own_server[-1])
                eventually(lambda: isnan(waiting()))


def waiting() -> float:
    """What /metrics says of the receipts that wait."""
    return REGISTRY.get_sample_value("bus_pending_messages", {"kind": "receipts"}) or 0.0


def taken(bus: EventBus, count: int) -> bool:
    return Receipt.objects.count() == count and not bus.left()


def exists(bus: EventBus) -> bool:
    async def ask(client: Client) -> bool:
        found = [info.config.name for info in await client.jetstream().streams_info()]
        return stream.STREAM in found

    try:
        return bus.connected(ask)
    except stream.NATS_ERRORS:
        return False


def test_stream_that_is_deleted_is_made_anew(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    async def delete(client: Client) -> None:
        await client.jetstream().delete_stream(stream.STREAM)

    with consuming():
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: bus.left() == 0)
        bus.connected(delete)
        eventually(lambda: exists(bus))
        bus.publish(machine, MessageKind.RECEIPTS, signed_receipt(node.pk))
        eventually(lambda: Receipt.objects.count() == 2)


def test_what_an_operator_changed_of_the_stream_stays(bus: EventBus, consuming: Consuming) -> None:
    async def enlarge(client: Client) -> None:
        js = client.jetstream()
        config = (await js.stream_info(stream.STREAM)).config
        config.max_bytes = 2 * stream.MOST_BYTES
        await js.update_stream(config)

    async def size(client: Client) -> int | None:
        return (await client.jetstream().stream_info(stream.STREAM)).config.max_bytes

    bus.connected(enlarge)
    bus.make_missing(ack_wait_seconds=ACK_WAIT_SECONDS)
    assert bus.connected(size) == 2 * stream.MOST_BYTES


def test_two_consumers_share_the_work(
    bus: EventBus, consuming: Consuming, node: Node, machine: SignedSender
) -> None:
    gateway = SignedSender.gateway(GatewayFactory.create())
    with consuming(), consuming():
        for number in range(40):
            one = {"request_id": f"r_{number}", "node_id": node.pk, "model_id": "m", "ts": time.time()}
            bus.publish(gateway, MessageKind.DISPATCHES, {"dispatches": [one]})
        eventually(lambda: bus.left() == 0)
    assert Dispatch.objects.count() == 40
    assert not ParkedMessage.objects.exists()
    connections.close_all()
