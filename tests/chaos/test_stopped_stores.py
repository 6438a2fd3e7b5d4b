"""PostgreSQL, Redis and ClickHouse are each stopped by SIGSTOP under load, and a lock on the nodes is held.

Requests that need no store are answered at once, and all others within their budget and correctly. Nothing
acknowledged is lost, and everything recovers. JATEVO_CHAOS_STOP_SECONDS is the duration (default 20).
"""

import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle

import httpx
import psycopg
import pytest

from jatevo.local.postgres import DATABASE, SUPERUSER
from tests.chaos.console_process import ConsoleProcess
from tests.chaos.crowd import (
    PATIENCE_SECONDS,
    PageReader,
    Sample,
    in_words,
    judge_api,
    judge_page,
    judge_part,
    judge_quick,
)
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person, counted_by_metrics
from tests.chaos.services import ServicesConsole
from tests.stopping import stopped

STOP_SECONDS = float(os.environ.get("JATEVO_CHAOS_STOP_SECONDS", "20"))
CALM_SECONDS = 8.0
NODES = 4
READERS = 5
QUICK = ("healthz", "static")
QUICK_MEDIAN_SECONDS = 0.1
QUICK_WORST_SECONDS = 2.0  # a machine that is busy with other things may be late now and then
ANSWER_SECONDS = 6.0
BACK_WITHIN_SECONDS = 10.0
PAGES = ("/", "/nodes/", "/receipts/", "/status/", "/nodes/chaos-0/")
PARTS = (("/nodes/", "nodes-list"), ("/nodes/chaos-0/", "node-tab"))
CALLS = ("/v1/nodes", "/v1/summary", "/v1/receipts", "/v1/users/me")

AnyConsole = ConsoleProcess | ServicesConsole


@dataclass(frozen=True)
class Spell:
    """A fault and its time, in monotonic seconds."""

    name: str
    began: float
    ended: float

    def covers(self, sample: Sample) -> bool:
        return self.began <= sample.asked_at < self.ended


@pytest.fixture(params=[ConsoleProcess, ServicesConsole], ids=["embedded", "services"])
def console(request: pytest.FixtureRequest) -> Iterator[AnyConsole]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    made: AnyConsole = request.param(port)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def nodes(console: AnyConsole) -> Iterator[list[InsistentNode]]:
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    made = [InsistentNode(console.url, f"chaos-{number}", enrolment["token"]) for number in range(NODES)]
    yield made
    for node in made:
        node.abandon()


@contextmanager
def nodes_locked(console: AnyConsole) -> Iterator[None]:
    """What a migration without a lock time-out would do to the table."""
    with psycopg.connect(host=str(console.home / "run" / "pg"), user=SUPERUSER, dbname=DATABASE) as holder:
        holder.execute("LOCK TABLE nodes_node IN ACCESS EXCLUSIVE MODE")
        yield


def users(console: AnyConsole, nodes: list[InsistentNode], clients: list[httpx.Client]) -> list[PageReader]:
    """Five readers, who between them see pages, parts and the API; logins, heartbeats; and who asks no store.

    Their connections are added to `clients`.
    """

    def client(role: str) -> httpx.Client:
        made = httpx.Client(base_url=console.url, timeout=PATIENCE_SECONDS, trust_env=False)
        clients.append(made)
        if role:
            assert made.post("/v1/auth/login", json=console.credentials(role)).status_code == 200
        return made

    def each(paths: tuple[str, ...], role: str) -> Callable[[], httpx.Response]:
        own, wanted = client(role), cycle(paths)
        return lambda: own.get(next(wanted))

    parts, wanted_parts = client("admin"), cycle(PARTS)

    def part() -> httpx.Response:
        path, target = next(wanted_parts)
        return parts.get(path, headers={"HX-Request": "true", "HX-Target": target})

    stranger = client("")
    login = console.credentials("viewer")
    readers = [
        PageReader("page", each(PAGES, "admin"), judge_page, pause_seconds=0.3),
        PageReader("page", each(PAGES, "operator"), judge_page, pause_seconds=0.3),
        PageReader("page", each(("/", "/login/"), ""), judge_page, pause_seconds=0.5),
        PageReader("part", part, judge_part, pause_seconds=0.3),
        PageReader("api", each(CALLS, "operator"), judge_api, pause_seconds=0.2),
    ]
    assert len(readers) == READERS
    return [
        *readers,
        PageReader("healthz", each(("/healthz",), ""), judge_quick, pause_seconds=0.1),
        PageReader("static", each(("/static/favicon.svg",), ""), judge_quick, pause_seconds=0.1),
        PageReader(
            "login", lambda: stranger.post("/v1/auth/login", json=login), judge_api, pause_seconds=7.0
        ),
        *(PageReader("heartbeat", node.beat, judge_api, pause_seconds=0.5) for node in nodes),
    ]


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_stopped_store_stops_nothing_else(
    console: AnyConsole, nodes: list[InsistentNode], capsys: pytest.CaptureFixture[str]
) -> None:
    faults: dict[str, AbstractContextManager[None]] = {
        "redis": stopped(console.store_pid("valkey")),
        "lock on nodes": nodes_locked(console),
        "postgresql": stopped(console.store_pid("postgres")),
    }
    if isinstance(console, ServicesConsole):
        faults["clickhouse"] = stopped(console.store_pid("clickhouse"))

    clients: list[httpx.Client] = []
    crowd = users(console, nodes, clients)
    for user in crowd:
        user.start()
    for node in nodes:
        node.start()
    began = time.monotonic()
    time.sleep(CALM_SECONDS)
    calm = Spell("all is well", began, time.monotonic())
    spells = []
    for name, fault in faults.items():
        began = time.monotonic()
        with fault:
            time.sleep(STOP_SECONDS)
            ended = time.monotonic()
        spells.append(Spell(name, began, ended))
        time.sleep(BACK_WITHIN_SECONDS + CALM_SECONDS)
    for user in crowd:
        user.end()
    for client in clients:
        client.close()
    for node in nodes:
        node.finish(timeout_seconds=30)

    samples = [sample for user in crowd for sample in user.samples]
    for node in nodes:
        samples += [Sample("receipts", at, seconds, status) for at, status, seconds in node.ledger.answers]
    with closing(Person(console, "admin")) as admin:
        found = [entry for node in nodes for entry in admin.stored(node.node_id)]
        counted = counted_by_metrics(admin, len(found))
    acknowledged = {entry for node in nodes for entry in node.ledger.acknowledged.items()}

    with capsys.disabled():
        print(f"\n{'fault':15} {'kind':10} {'count':>5} {'median':>8} {'p95':>8} {'max ms':>8}   statuses")
        for spell in (calm, *spells):
            for kind in dict.fromkeys(sample.kind for sample in samples):
                during = [sample for sample in samples if sample.kind == kind and spell.covers(sample)]
                print(f"{spell.name:15} {kind:10} {in_words(during) if during else '-'}")
            if spell is not calm:
                print(f"{spell.name:15} back after {back_after(spell, samples):.1f} s")
        print(
            f"acknowledged {len(acknowledged)}, missing {len(acknowledged - set(found))}, "
            f"stored twice {len(found) - len(set(found))}, in ClickHouse {counted} of {len(found)}, "
            f"retries {sum(node.ledger.retries for node in nodes)}"
        )

    assert {(sample.kind, sample.status, sample.problem) for sample in samples if sample.problem} == set()
    assert [surprise for node in nodes for surprise in node.ledger.surprises] == []
    for kind in QUICK:
        for spell in spells:
            times = [sample.seconds for sample in samples if sample.kind == kind and spell.covers(sample)]
            assert len(times) > STOP_SECONDS, f"{kind} was not answered during {spell.name}"
            assert statistics.median(times) < QUICK_MEDIAN_SECONDS, f"{kind} during {spell.name}"
            assert max(times) < QUICK_WORST_SECONDS, f"{kind} during {spell.name}"
    assert [sample for sample in samples if sample.seconds >= ANSWER_SECONDS] == []
    for spell in spells:
        refused = {sample.kind for sample in samples if spell.covers(sample) and sample.status == 503}
        assert refused <= REFUSED[spell.name], f"{spell.name}: {refused}"
        assert refused >= FELT[spell.name], f"{spell.name} was not felt: {refused}"
        assert back_after(spell, samples) < BACK_WITHIN_SECONDS
    assert acknowledged - set(found) == set()
    assert len(found) == len(set(found))
    assert counted == len(found)
    assert console.stop() == 0


_ALL = {"page", "part", "api", "login", "heartbeat", "receipts"}
# Which kinds a fault may refuse, and which it must have refused if it was one.
REFUSED: dict[str, set[str]] = {
    "redis": set(),
    "clickhouse": set(),
    "lock on nodes": _ALL - {"login"},
    "postgresql": _ALL,
}
FELT: dict[str, set[str]] = {
    "redis": set(),
    "clickhouse": set(),
    "lock on nodes": {"page", "heartbeat"},
    "postgresql": {"page", "part", "api", "heartbeat", "receipts"},
}


def back_after(spell: Spell, samples: list[Sample]) -> float:
    """Seconds from the end of the fault to the last refusal."""
    window = spell.ended + BACK_WITHIN_SECONDS + CALM_SECONDS / 2  # the next fault is not this one's
    refused = [
        sample.asked_at
        for sample in samples
        if spell.ended <= sample.asked_at < window and sample.status not in (200, 201, 304, 429)
    ]
    return max(refused, default=spell.ended) - spell.ended
