"""Lanes that are restarted one after the other, under load: no request fails, and nothing acknowledged is missing.

Clients do what a load balancer does: a request to which no answer came goes to the other lane, byte for byte and with
the same webhook-id. If the lane that was asked first had recorded it, that would be refused as a replay. Every second
time, PostgreSQL stands still while the lane is told to stop, so that requests are under way.
JATEVO_CHAOS_RESTARTS is their number.
"""

import http.client
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person
from tests.chaos.supervised import SupervisedConsole, is_ready
from tests.stopping import stopped

RESTARTS = int(os.environ.get("JATEVO_CHAOS_RESTARTS", "10"))
NODES = 12
STANDSTILL_SECONDS = 0.8  # less than any time-out
STOP_SECONDS = 30.0
# Clients send as fast as they are answered.
SETTINGS = {"JATEVO_LIMIT_NODE": "100000/second", "JATEVO_LIMIT_RECEIPTS": "100000/second"}


class Client(threading.Thread):
    """Sends a node's receipts to the first of its lanes, and to the next one if no answer comes."""

    def __init__(self, node: InsistentNode, lanes: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []  # SHA-256 of each receipt
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.turned_away = 0  # asked the other lane instead
        self.ending = threading.Event()
        self._node = node
        self._lanes = [_Connection(urlsplit(lane).netloc) for lane in lanes]

    def run(self) -> None:
        while not self.ending.is_set():
            body = self._node.receipt()
            headers = self._node.headers(body)
            answer = self._answer(body, headers)
            if answer is None:
                self.failures.append("no lane answers")
                continue
            status, text = answer
            self.answers[status] += 1
            if status == 201:
                self.acknowledged.append(sha256(body).hexdigest())
            else:
                self.failures.append(f"{status} {text[:200]!r}")

    def _answer(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes] | None:
        for _ in self._lanes:
            answer = self._lanes[0].post("/v1/receipts", body, headers)
            if answer is not None:
                return answer
            self.turned_away += 1
            self._lanes.append(self._lanes.pop(0))
        return None


class _Connection:
    """Keeps a connection alive, as proxies do."""

    def __init__(self, netloc: str) -> None:
        self._http = http.client.HTTPConnection(netloc, timeout=30)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes] | None:
        try:
            self._http.request("POST", path, body, headers)
            answer = self._http.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            return None


@pytest.fixture
def console() -> Iterator[SupervisedConsole]:
    made = SupervisedConsole(lanes=2, settings=SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def clients(console: SupervisedConsole) -> Iterator[list[Client]]:
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    nodes = [InsistentNode(console.url, f"rolling-{number}", enrolment["token"]) for number in range(NODES)]
    yield [
        Client(node, console.lanes if number % 2 else console.lanes[::-1])
        for number, node in enumerate(nodes)
    ]
    for node in nodes:
        node.abandon()


@pytest.mark.chaos
@pytest.mark.timeout(60 * RESTARTS + 400)
def test_lanes_are_restarted_one_by_one_without_a_failed_request(
    console: SupervisedConsole, clients: list[Client], capsys: pytest.CaptureFixture[str]
) -> None:
    for client in clients:
        client.start()
    exits, seconds = [], []
    for number in range(RESTARTS):
        time.sleep(1.0)
        lane = console.units[f"lane {number % 2}"]
        process = lane.process
        postgresql = stopped(console.units["postgresql"].process.pid)
        with postgresql if number % 4 in (1, 2) else nullcontext():
            time.sleep(0.2)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            time.sleep(STANDSTILL_SECONDS)
        exits.append(process.wait(timeout=STOP_SECONDS))
        seconds.append(time.monotonic() - began)
        deadline = time.monotonic() + 60
        while lane.process is process or not is_ready(console.lanes[number % 2]):
            assert time.monotonic() < deadline, console.output()
            time.sleep(0.1)
    for client in clients:
        client.ending.set()
    for client in clients:
        client.join(60)

    with console.database() as connection:
        rows = connection.execute("SELECT raw FROM receipts_receipt").fetchall()
    found = Counter(sha256(raw).hexdigest() for (raw,) in rows)
    acknowledged = {digest for client in clients for digest in client.acknowledged}
    answers = sum((client.answers for client in clients), Counter[int]())
    failures = [failure for client in clients for failure in client.failures]
    with capsys.disabled():
        print(
            f"\n{RESTARTS} restarts, {answers.total()} requests {dict(answers)}, failed {len(failures)}, "
            f"sent to the other lane {sum(client.turned_away for client in clients)}, "
            f"acknowledged {len(acknowledged)}, stored {found.total()}, missing {len(acknowledged - set(found))}, "
            f"a lane ended after {max(seconds):.1f} s at most"
        )
    assert failures == []
    assert acknowledged - set(found) == set()
    assert found.total() == len(found) == len(acknowledged)
    assert exits == [0] * RESTARTS
    assert sum(client.turned_away for client in clients) > 0, "no restart was felt"
