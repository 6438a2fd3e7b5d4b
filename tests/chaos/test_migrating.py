"""The newest migrations are applied while nodes post and people read: no request fails, and none waits long for a lock.

The console's code is that of today, so first those migrations are taken back that it can do without on the requests
made here. tests/chaos/next_release adds a release to come, which changes the tables of nodes and receipts. All the
while, transactions that take seconds have read the tables, as exports do: a migration that waited for one would hold
up all that comes after it.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.clients import UNLIMITED, Beater, Client, Poster, Reader, turned
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.lock_waits import LockWaits
from tests.chaos.person import Person
from tests.chaos.supervised import SupervisedConsole

NODES = 8
READERS = 2
BEFORE = {
    "earnings": "0012",
    "nodes": "0024",
    "onboarding": "zero",
    "receipts": "0008",
}
TAKEN_BACK = 8  # migrations after these, at least
LONG_READ_SECONDS = 4.0
LONGEST_WAIT_SECONDS = 2.0
MANY_ROWS = """
INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
SELECT 'migrating-0', 'bulk-' || n, sha256(n::text::bytea), now() FROM generate_series(1, 400000) AS n;
"""
MIGRATE = """
from django.conf import settings
settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.chaos.next_release"]
import django
django.setup()
from django.core.management import call_command
call_command("migrate", interactive=False, no_color=True)
"""


class LongReader(threading.Thread):
    """One transaction after another that reads the tables and then takes its time."""

    def __init__(self, console: SupervisedConsole) -> None:
        super().__init__(daemon=True)
        self.ending = threading.Event()
        self.transactions = 0
        self._console = console

    def run(self) -> None:
        with self._console.database() as connection:
            while not self.ending.wait(1.0):
                with connection.transaction():
                    for table in ("receipts_receipt", "nodes_node", "earnings_verdict"):
                        connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - constants
                    self.ending.wait(LONG_READ_SECONDS)
                self.transactions += 1


@pytest.fixture
def console() -> Iterator[SupervisedConsole]:
    made = SupervisedConsole(webs=1, lanes=1, settings=UNLIMITED)
    try:
        made.start()
        made.set_a_rate()
        yield made
    finally:
        made.remove()


@pytest.fixture
def clients(console: SupervisedConsole) -> Iterator[list[Client]]:
    """Half of the nodes post receipts, the others heartbeats. Every third uses the web server, the others the lane."""
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
        token = admin.token
    nodes = [InsistentNode(console.url, f"migrating-{number}", enrolment["token"]) for number in range(NODES)]
    console.put_in_service()
    made: list[Client] = []
    for number, node in enumerate(nodes):
        servers = turned(console.lanes if number % 3 else console.webs, number)
        made.append(Beater(node, servers) if number % 2 else Poster(node, servers))
    yield [*made, *(Reader(token, console.webs) for _ in range(READERS))]
    for node in nodes:
        node.abandon()


def said_of_errors(console: SupervisedConsole) -> str:
    """The last lines of all tracebacks in the log, each once."""
    log = (console.home / "output.log").read_text(errors="replace")
    found = re.findall(r"\\n([\w.]+(?:Error|Exception|DoesNotExist)[^\"]{0,300})", log)
    return "\n".join(sorted(set(found)))


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_migrations_are_applied_under_load_without_a_failed_request(
    console: SupervisedConsole, clients: list[Client], capsys: pytest.CaptureFixture[str]
) -> None:
    for app, name in BEFORE.items():
        console.manage("migrate", app, name, "-v0")
    with console.database() as connection:
        connection.execute(MANY_ROWS)
    waits, long_reader = LockWaits(console.database), LongReader(console)
    for thread in (*clients, waits, long_reader):
        thread.start()
    time.sleep(3.0)  # so that all of them are at it

    began = time.monotonic()
    said, tried_again = console.script_output(MIGRATE)
    seconds = time.monotonic() - began

    long_reader.ending.set()
    for client in clients:
        client.ending.set()
    for thread in (*clients, long_reader):
        thread.join(60)
    waits.end()
    applied = re.findall(r"Applying (\S+)\.\.\. OK", said)
    retries = tried_again.count("is tried again")
    answers = sum((client.answers for client in clients), Counter[int]())
    failures = [failure for client in clients for failure in client.failures]
    with capsys.disabled():
        print(
            f"\n{len(applied)} migrations in {seconds:.1f} s, {retries} of their tries gave way; "
            f"{answers.total()} requests {dict(answers)}, failed {len(failures)}; "
            f"{len(waits.of_requests)} lock waits of requests and jobs, longest {max(waits.of_requests, default=0):.2f} s, "
            f"of migrations {max(waits.of_migrations, default=0):.2f} s; {waits.samples} samples, "
            f"{long_reader.transactions} long transactions\n" + "\n".join(waits.longest())
        )
    assert failures == [], said_of_errors(console)
    assert len(applied) >= TAKEN_BACK + 5, said
    assert retries > 0, "no migration met a long transaction"
    assert max(waits.of_requests, default=0.0) < LONGEST_WAIT_SECONDS, waits.longest()
    with console.database() as connection:
        ((invalid,),) = connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchall()
    assert invalid == 0
