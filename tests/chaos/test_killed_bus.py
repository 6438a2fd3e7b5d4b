"""While NATS and its consumers are killed, what NATS acknowledged is taken, and once.

Ten nodes, a validator and a gateway publish to the event bus, each the same message until it is acknowledged. Of two
consumers one at a time is killed. JATEVO_CHAOS_NATS_KILLS (default 20) and JATEVO_CHAOS_CONSUMER_KILLS (10) are the
numbers of faults, JATEVO_CHAOS_STATEMENTS (40,000) is how many receipts, probes and dispatches are acknowledged at least,
and JATEVO_CHAOS_SEED repeats the faults of a run.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from jatevo.bus.models import MessageKind
from tests.bus import nats_server
from tests.bus.nats_server import NatsServer
from tests.bus.publishing import EventBus
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.insistent_publisher import InsistentPublisher, Statement
from tests.chaos.person import Person
from tests.chaos.supervised import Fault, SupervisedConsole
from tests.chaos.test_two_hundred_faults import in_seconds, minutes, seconds_until, stored

NATS_KILLS = int(os.environ.get("JATEVO_CHAOS_NATS_KILLS", "20"))
CONSUMER_KILLS = int(os.environ.get("JATEVO_CHAOS_CONSUMER_KILLS", "10"))
STATEMENTS = int(os.environ.get("JATEVO_CHAOS_STATEMENTS", "40000"))
NODES = 10
MOST_IN_A_BATCH = 8
SECONDS_BETWEEN_FAULTS = (2.0, 8.0)
# A message that a killed consumer had is delivered again after thirty seconds.
TAKEN_WITHIN_SECONDS = 180.0
# Not those by the console, whose challenges nobody answers here.
_PROBES = "SELECT detail, p95_ms::text FROM nodes_probe WHERE validator_id = 'chaos-validator'"
_SENDERS = """
import json, django
django.setup()
from django.utils import timezone
from nodes.actions import create_sender
from nodes.models import Validator
from receipts.models import Gateway
print(json.dumps([create_sender(model, name=name, by=None, at=timezone.now())[1]
                  for model, name in ((Validator, "chaos-validator"), (Gateway, "chaos-gateway"))]))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """The newest process is the last."""
    servers = [nats_server.start_as_shipped(tmp_path)]
    yield servers
    nats_server.stop(servers[-1])


@pytest.fixture
def console(server: list[NatsServer]) -> Iterator[SupervisedConsole]:
    made = SupervisedConsole(lanes=0, settings={"NATS_URL": server[0].console_url})
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def publishers(console: SupervisedConsole, server: list[NatsServer]) -> Iterator[list[InsistentPublisher]]:
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    nodes = [InsistentNode(console.url, f"chaos-{number}", enrolment["token"]) for number in range(NODES)]
    console.put_in_service()
    validator_token, gateway_token = json.loads(console.script(_SENDERS).splitlines()[-1])
    url = server[0].machines_url
    made = []
    for node in nodes:
        for says in (receipts_of(node), heartbeats_of(node)):
            made.append(
                InsistentPublisher(
                    url,
                    header="X-Node-Id",
                    sender=node.node_id,
                    token=node.token,
                    next_statement=says,
                    seconds_between=0.22,  # five posts of receipts a second are allowed
                )
            )
    for header, name, token, says in (
        ("X-Validator-Id", "chaos-validator", validator_token, probes()),
        ("X-Gateway-Id", "chaos-gateway", gateway_token, dispatches()),
    ):
        made.append(
            InsistentPublisher(
                url, header=header, sender=name, token=token, next_statement=says, seconds_between=0.2
            )
        )
    yield made
    for publisher in made:
        publisher.abandon()
    for node in nodes:
        node.abandon()


@pytest.mark.chaos
@pytest.mark.timeout(20 * (NATS_KILLS + CONSUMER_KILLS) + STATEMENTS // 30 + 900)
def test_killed_bus_loses_nothing(
    console: SupervisedConsole,
    server: list[NatsServer],
    publishers: list[InsistentPublisher],
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = os.environ.get("JATEVO_CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    dice = random.Random(seed)
    faults = [Fault(signal.SIGKILL, "nats")] * NATS_KILLS
    faults += [Fault(signal.SIGKILL, f"consumer {number % 2}") for number in range(CONSUMER_KILLS)]
    dice.shuffle(faults)
    supervise(console, server)
    began = time.monotonic()
    for publisher in publishers:
        publisher.start()

    between = 0  # faults since which messages were acknowledged
    for number, fault in enumerate(faults, start=1):
        before = acknowledged(publishers)
        time.sleep(dice.uniform(*SECONDS_BETWEEN_FAULTS))
        # spread over the statements, so that none of them come undisturbed at the end
        while acknowledged(publishers) < STATEMENTS * (number - 1) / len(faults):
            time.sleep(0.05)
        assert fault.strike(console, dice, seconds=0)
        between += acknowledged(publishers) > before
    while acknowledged(publishers) < STATEMENTS:
        time.sleep(0.1)
    for publisher in publishers:
        publisher.finish(timeout_seconds=60)
    over = time.monotonic()
    bus = EventBus(server[0].console_url)
    taken = seconds_until(lambda: bus.left() == 0, over, TAKEN_WITHIN_SECONDS)

    wanted = {kind: journal(publishers, kind) for kind in MessageKind}
    found: dict[MessageKind, Counter[tuple[str, ...]]] = {
        MessageKind.RECEIPTS: Counter((f"{node} {name}", digest) for node, name, digest in stored(console)),
        MessageKind.PROBES: Counter(rows(console, _PROBES)),
        MessageKind.DISPATCHES: Counter(
            rows(console, "SELECT request_id, tokens_input::text FROM receipts_dispatch")
        ),
    }
    missing = {kind: set(wanted[kind].items()) - set(its) for kind, its in found.items()}
    repeated = {kind: [each for each, times in its.items() if times > 1] for kind, its in found.items()}
    last_beats = {
        node: float(ts) for node, ts in rows(console, "SELECT id, last_heartbeat_ts::text FROM nodes_node")
    }
    ((parked,),) = rows(console, "SELECT count(*) FROM bus_parkedmessage")
    messages = {kind: sum(each.journal.messages[kind] for each in publishers) for kind in MessageKind}
    listed = ", ".join(f"{count} {kind}" for kind, count in messages.items())
    with capsys.disabled():
        print(  # the figures are the point of this run
            f"\nseed {seed}: {NATS_KILLS} kills of nats-server, {CONSUMER_KILLS} of consumers in "
            f"{minutes(began, over)}, {between} with messages acknowledged before the next one\n"
            f"started again: {console.restarts()}\n"
            f"messages acknowledged {sum(messages.values())} ({listed}), "
            f"published again {sum(each.journal.retries for each in publishers)}\n"
            f"receipts, probes and dispatches acknowledged {acknowledged(publishers)}, "
            f"on record {sum(its.total() for its in found.values())}, "
            f"missing {[len(missing[kind]) for kind in found]}, "
            f"twice {sum(map(len, repeated.values()))}, parked {parked}; "
            f"all were acknowledged to NATS {in_seconds(taken)} after the last was published",
            flush=True,
        )
    assert console.failures == []
    assert taken is not None, f"{bus.left()} messages are not acknowledged"
    assert parked == 0
    assert not any(missing.values())
    assert not any(repeated.values())
    assert {kind: its.total() for kind, its in found.items()} == {kind: len(wanted[kind]) for kind in found}
    assert last_beats == {node: float(ts) for node, ts in wanted[MessageKind.HEARTBEATS].items()}
    assert between > len(faults) // 2, "most faults hit a bus that did nothing"


def supervise(console: SupervisedConsole, server: list[NatsServer]) -> None:
    """NATS, which runs already, and two consumers, started again whenever they end."""

    def again() -> "subprocess.Popen[bytes]":
        server.append(nats_server.restart(server[-1]))
        return server[-1].process

    console.adopt("nats", again, server[-1].process)
    for number in range(2):
        console.manage_for_ever(f"consumer {number}", "consume")


def receipts_of(node: InsistentNode) -> Callable[[], Statement]:
    dice = random.Random(f"receipts of {node.node_id}")

    def says() -> Statement:
        raws = [node.receipt() for _ in range(dice.randint(1, MOST_IN_A_BATCH))]
        entries = {f"{node.node_id} {json.loads(raw)['request_id']}": sha256(raw).hexdigest() for raw in raws}
        body = raws[0] if len(raws) == 1 else b'{"receipts": [' + b",".join(raws) + b"]}"
        return Statement(MessageKind.RECEIPTS, body, entries)

    return says


def heartbeats_of(node: InsistentNode) -> Callable[[], Statement]:
    def says() -> Statement:
        ts = time.time()
        body = {"node_id": node.node_id, "ts": ts, "metrics": {"uptime": 1.0}}
        return Statement(MessageKind.HEARTBEATS, json.dumps(body).encode(), {node.node_id: repr(ts)})

    return says


def probes() -> Callable[[], Statement]:
    numbers = itertools.count()

    def says() -> Statement:
        name, p95 = uuid.uuid4().hex, float(next(numbers))
        body = {"node_id": f"chaos-{int(p95) % NODES}", "kind": "latency", "ok": True, "ts": time.time(),
                "p95": p95, "detail": name}  # fmt: skip
        return Statement(MessageKind.PROBES, json.dumps(body).encode(), {name: f"{p95:g}"})

    return says


def dispatches() -> Callable[[], Statement]:
    dice = random.Random("dispatches")

    def says() -> Statement:
        entries = {f"r_{uuid.uuid4().hex}": str(dice.randint(1, 4000)) for _ in range(dice.randint(1, 5))}
        items = [
            {"request_id": name, "node_id": "chaos-0", "model_id": "llama3.1-8b", "ts": time.time(),
             "tokens_input": int(tokens)}
            for name, tokens in entries.items()
        ]  # fmt: skip
        return Statement(MessageKind.DISPATCHES, json.dumps({"dispatches": items}).encode(), entries)

    return says


def journal(publishers: list[InsistentPublisher], kind: MessageKind) -> dict[str, str]:
    """All that was acknowledged. Of a node's heartbeats, the last."""
    found: dict[str, str] = {}
    for publisher in publishers:
        found |= publisher.journal.entries[kind]
    return found


def acknowledged(publishers: list[InsistentPublisher]) -> int:
    """How many receipts, probes and dispatches."""
    return sum(
        len(each.journal.entries[kind])
        for each in publishers
        for kind in MessageKind
        if kind is not MessageKind.HEARTBEATS
    )


def rows(console: SupervisedConsole, query: str) -> list[tuple[str, ...]]:
    with console.database() as connection:
        return connection.execute(query).fetchall()
