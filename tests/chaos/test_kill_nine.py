"""After kill -9 of the console under load, everything that was acknowledged is stored once, byte for byte.

Every second time, PostgreSQL is killed at the same moment, so that it has to recover from its log.
JATEVO_CHAOS_KILLS is the number of kills (default 20). JATEVO_CHAOS_SEED repeats the moments of a run.
"""

import os
import random
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.console_process import ConsoleProcess
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person, counted_by_metrics

KILLS = int(os.environ.get("JATEVO_CHAOS_KILLS", "20"))
NODES = 8
LOAD_SECONDS = (0.5, 3.0)  # between the console's being up and its end


@pytest.fixture
def console() -> Iterator[ConsoleProcess]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = ConsoleProcess(port)
    yield process
    process.remove()


@pytest.fixture
def nodes(console: ConsoleProcess) -> Iterator[list[InsistentNode]]:
    console.start()
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    begun = [InsistentNode(console.url, f"chaos-{number}", enrolment["token"]) for number in range(NODES)]
    for node in begun:
        node.start()
    yield begun
    for node in begun:
        node.abandon()


@pytest.mark.chaos
@pytest.mark.timeout(90 * KILLS + 300)
def test_no_acknowledged_receipt_is_lost(
    console: ConsoleProcess, nodes: list[InsistentNode], capsys: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("JATEVO_CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    moments = random.Random(seed)
    restart_seconds = []
    under_load = 0
    for number in range(KILLS):
        acknowledged_before = sum(len(node.ledger.acknowledged) for node in nodes)
        time.sleep(moments.uniform(*LOAD_SECONDS))
        console.kill(with_postgres=number % 2 == 1)
        under_load += sum(len(node.ledger.acknowledged) for node in nodes) > acknowledged_before
        restart_seconds.append(console.start())
    time.sleep(2)
    for node in nodes:
        node.finish(timeout_seconds=30)

    with closing(Person(console, "admin")) as admin:
        stored = {node.node_id: list(admin.stored(node.node_id)) for node in nodes}
        kept = sum(len(entries) for entries in stored.values())
        counted = counted_by_metrics(admin, kept)
    acknowledged = {(node.node_id, *entry) for node in nodes for entry in node.ledger.acknowledged.items()}
    found = Counter((node_id, *entry) for node_id, entries in stored.items() for entry in entries)
    missing = [entry for entry in acknowledged if found[entry] == 0]
    repeated = [entry for entry, times in found.items() if times > 1]

    with capsys.disabled():
        print(  # the figures are the point of this run
            f"\nkills {KILLS} ({under_load} with receipts acknowledged in the same spell, seed {seed}), "
            f"acknowledged {len(acknowledged)}, missing {len(missing)}, stored twice {len(repeated)}, "
            f"answers lost and given again {sum(node.ledger.duplicates for node in nodes)}, "
            f"retries {sum(node.ledger.retries for node in nodes)}, "
            f"in ClickHouse {counted} of {kept}, "
            f"restart {statistics.median(restart_seconds):.1f} s median, {max(restart_seconds):.1f} s at most"
        )
    assert [surprise for node in nodes for surprise in node.ledger.surprises] == []
    assert missing == []
    assert repeated == []
    assert counted == kept
    assert under_load > 0
    assert console.stop() == 0
