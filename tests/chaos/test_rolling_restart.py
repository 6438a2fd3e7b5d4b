"""Lanes, web servers and the worker are restarted one after the other, under load: no request fails, and nothing
acknowledged is missing.

Clients do what a load balancer does: a request to which no answer came goes to the other server, byte for byte and with
the same webhook-id. If the one that was asked first had recorded it, that would be refused as a replay. Every second
time, PostgreSQL stands still while the server is told to stop, so that requests are under way.
JATEVO_CHAOS_RESTARTS is their number.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from hashlib import sha256

import pytest

from tests.chaos.clients import UNLIMITED, Client, Poster, Reader, turned
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person
from tests.chaos.supervised import SupervisedConsole, is_ready
from tests.stopping import stopped

RESTARTS = int(os.environ.get("JATEVO_CHAOS_RESTARTS", "15"))
IN_TURN = ("lane 0", "web", "worker", "lane 1", "web 1")
NODES = 12
READERS = 4
STANDSTILL_SECONDS = 0.8  # less than any time-out
STOP_SECONDS = 30.0
ITEMISED_WITHIN_SECONDS = 60.0


@pytest.fixture
def console() -> Iterator[SupervisedConsole]:
    made = SupervisedConsole(webs=2, lanes=2, settings=UNLIMITED)
    try:
        made.start()
        made.set_a_rate()
        yield made
    finally:
        made.remove()


@pytest.fixture
def posters(console: SupervisedConsole) -> Iterator[list[Poster]]:
    """Two of three post to the lanes, the others to the web servers."""
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    nodes = [InsistentNode(console.url, f"rolling-{number}", enrolment["token"]) for number in range(NODES)]
    console.put_in_service()
    yield [
        Poster(node, turned(console.lanes if number % 3 else console.webs, number))
        for number, node in enumerate(nodes)
    ]
    for node in nodes:
        node.abandon()


@pytest.fixture
def readers(console: SupervisedConsole) -> list[Reader]:
    with closing(Person(console, "admin")) as admin:
        token = admin.token
    return [Reader(token, turned(console.webs, number)) for number in range(READERS)]


@pytest.mark.chaos
@pytest.mark.timeout(60 * RESTARTS + 400)
def test_all_are_restarted_one_by_one_without_a_failed_request(
    console: SupervisedConsole,
    posters: list[Poster],
    readers: list[Reader],
    capsys: pytest.CaptureFixture[str],
) -> None:
    clients: list[Client] = [*posters, *readers]
    for client in clients:
        client.start()
    exits, seconds = [], []
    for number in range(RESTARTS):
        time.sleep(1.0)
        name = IN_TURN[number % len(IN_TURN)]
        unit = console.units[name]
        process = unit.process
        postgresql = stopped(console.units["postgresql"].process.pid)
        with postgresql if number % 4 in (1, 2) else nullcontext():
            time.sleep(0.2)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            time.sleep(STANDSTILL_SECONDS)
        exits.append((name, process.wait(timeout=STOP_SECONDS)))
        seconds.append(time.monotonic() - began)
        address = console.address_of(name)
        deadline = time.monotonic() + 60
        while unit.process is process or (address is not None and not is_ready(address)):
            assert time.monotonic() < deadline, console.output()
            time.sleep(0.1)
    for client in clients:
        client.ending.set()
    for client in clients:
        client.join(60)

    itemised_after = _itemised_after(console)
    with console.database() as connection:
        rows = connection.execute("SELECT raw FROM receipts_receipt").fetchall()
    found = Counter(sha256(raw).hexdigest() for (raw,) in rows)
    acknowledged = {digest for poster in posters for digest in poster.acknowledged}
    answers = sum((client.answers for client in clients), Counter[int]())
    failures = [failure for client in clients for failure in client.failures]
    with capsys.disabled():
        print(
            f"\n{RESTARTS} restarts, {answers.total()} requests {dict(answers)}, failed {len(failures)}, "
            f"sent to the other server {sum(client.turned_away for client in clients)}, "
            f"acknowledged {len(acknowledged)}, stored {found.total()}, missing {len(acknowledged - set(found))}, "
            f"itemised after {itemised_after:.1f} s, one ended after {max(seconds):.1f} s at most"
        )
    assert failures == []
    assert acknowledged - set(found) == set()
    assert found.total() == len(found) == len(acknowledged)
    assert [code for _, code in exits] == [0] * RESTARTS, exits
    assert sum(client.turned_away for client in posters) > 0, "no restart was felt"
    assert sum(client.turned_away for client in readers) > 0, "no restart was felt"


def _itemised_after(console: SupervisedConsole) -> float:
    """The seconds until the worker has judged every receipt, once each."""
    began = time.monotonic()
    while True:
        with console.database() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM receipts_receipt), (SELECT count(*) FROM earnings_item)"
            ).fetchone()
        assert row is not None
        if row[0] == row[1]:
            return time.monotonic() - began
        assert time.monotonic() - began < ITEMISED_WITHIN_SECONDS, row
        time.sleep(0.5)
