"""Under random faults of every process of a console, what was acknowledged is stored once, and paid for once.

Nodes post to the lane, and a few to the web processes. Each fault kills, or stops for a while, a service, one of its
processes or a backend of PostgreSQL. What ended is started again at once. JATEVO_CHAOS_FAULTS is the number of faults
(default 200), JATEVO_CHAOS_RECEIPTS how many receipts are acknowledged at least (default 100,000), and
JATEVO_CHAOS_SEED repeats the faults of a run.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256

import pytest

from tests.chaos.heart import Heart
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person
from tests.chaos.supervised import SupervisedConsole, counted, faults

FAULTS = int(os.environ.get("JATEVO_CHAOS_FAULTS", "200"))
RECEIPTS = int(os.environ.get("JATEVO_CHAOS_RECEIPTS", "100000"))
NODES = 14
NODES_AT_WEB = 2
MOST_IN_A_BATCH = 40
STOP_SECONDS = (0.5, 4.0)
SECONDS_BETWEEN_FAULTS = (0.3, 3.0)
ACCEPTABLE_TO_A_HEARTBEAT = {200, 429, 503}
EQUAL_WITHIN_SECONDS = 60.0
ACCRUED_WITHIN_SECONDS = 300.0


@pytest.fixture
def console() -> Iterator[SupervisedConsole]:
    made = SupervisedConsole()
    try:
        made.start()
        made.set_a_rate()
        yield made
    finally:
        made.remove()


@pytest.fixture
def nodes(console: SupervisedConsole) -> Iterator[list[InsistentNode]]:
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    made = [
        InsistentNode(
            console.url,
            f"chaos-{number}",
            enrolment["token"],
            most_in_a_batch=MOST_IN_A_BATCH,
            lane="" if number < NODES_AT_WEB else console.lane,
        )
        for number in range(NODES)
    ]
    yield made
    for node in made:
        node.abandon()


@pytest.mark.chaos
@pytest.mark.timeout(12 * FAULTS + RECEIPTS // 40 + 1200)
def test_two_hundred_faults_lose_nothing(
    console: SupervisedConsole, nodes: list[InsistentNode], capsys: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("JATEVO_CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\n{FAULTS} faults, seed {seed}", flush=True)
    dice = random.Random(seed)
    began = time.monotonic()
    hearts = [Heart(node, ACCEPTABLE_TO_A_HEARTBEAT) for node in nodes]
    for node, heart in zip(nodes, hearts, strict=True):
        node.start()
        heart.start()

    struck = []
    between = 0  # faults since which receipts were acknowledged
    for number, fault in enumerate(faults(FAULTS, dice), start=1):
        before = acknowledged_by(nodes)
        time.sleep(dice.uniform(*SECONDS_BETWEEN_FAULTS))
        # spread over the receipts, so that none of them come undisturbed at the end
        while acknowledged_by(nodes) < RECEIPTS * (number - 1) / FAULTS:
            time.sleep(0.05)
        if fault.strike(console, dice, seconds=dice.uniform(*STOP_SECONDS)):
            struck.append(fault)
        between += acknowledged_by(nodes) > before
        if number % 20 == 0:
            with capsys.disabled():
                print(f"{number} faults, {acknowledged_by(nodes)} receipts, {minutes(began)}", flush=True)
    while acknowledged_by(nodes) < RECEIPTS:
        time.sleep(0.1)
    over = time.monotonic()
    for heart in hearts:
        heart.ending.set()
    for heart in hearts:
        heart.join(30)
    for node in nodes:
        node.finish(timeout_seconds=60)
    console.wait_until_ready()
    recovered = time.monotonic()

    equal = seconds_until(
        lambda: in_clickhouse(console) == in_postgresql(console), recovered, EQUAL_WITHIN_SECONDS
    )
    totals = in_postgresql(console), in_clickhouse(console)
    accrued = seconds_until(lambda: not unjudged(console), recovered, ACCRUED_WITHIN_SECONDS)
    found = Counter(stored(console))
    acknowledged = {(node.node_id, *entry) for node in nodes for entry in node.ledger.acknowledged.items()}
    missing = [entry for entry in acknowledged if found[entry] == 0]
    identities = Counter((node_id, request_id) for node_id, request_id, _ in found.elements())
    repeated = [identity for identity, times in identities.items() if times > 1]
    wrong_items = without_exactly_one_item(console)

    statuses: Counter[int] = Counter(status for node in nodes for _, status, _ in node.ledger.answers)
    beats = sum((heart.statuses for heart in hearts), Counter[int]())
    with capsys.disabled():
        print(  # the figures are the point of this run
            f"faults {len(struck)} ({counted(struck)}), {between} with receipts acknowledged before the next one, "
            f"in {minutes(began, recovered)}\n"
            f"started again: {console.restarts()}\n"
            f"acknowledged {len(acknowledged)}, stored {found.total()}, missing {len(missing)}, "
            f"stored twice {len(repeated)}, answers lost and given again "
            f"{sum(node.ledger.duplicates for node in nodes)}, retries {sum(node.ledger.retries for node in nodes)}\n"
            f"answers to receipts {dict(statuses)}, to heartbeats {dict(beats)} (0: none came)\n"
            f"PostgreSQL {totals[0]}, ClickHouse {totals[1]} (receipts, tokens in and out), "
            f"equal {in_seconds(equal)} after recovery, which took {recovered - over:.1f} s; all receipts itemised after {in_seconds(accrued)}, without exactly one item {wrong_items}",
            flush=True,
        )
    assert console.failures == []
    assert [surprise for node in nodes for surprise in node.ledger.surprises] == []
    assert [surprise for heart in hearts for surprise in heart.surprises] == []
    assert missing == []
    assert repeated == []
    assert len(acknowledged) >= RECEIPTS
    assert equal is not None, f"PostgreSQL {totals[0]}, ClickHouse {totals[1]}"
    assert accrued is not None, f"{unjudged(console)} receipts have no item"
    assert wrong_items == 0
    assert len(struck) > 0.9 * FAULTS
    assert between > FAULTS // 2, "most faults hit a console that did nothing"
    with capsys.disabled():
        print(console.manage("earnings_fsck").splitlines()[-1], flush=True)


def acknowledged_by(nodes: list[InsistentNode]) -> int:
    return sum(len(node.ledger.acknowledged) for node in nodes)


def minutes(since: float, until: float | None = None) -> str:
    return f"{((until or time.monotonic()) - since) / 60:.1f} minutes"


def in_seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.1f} s"


def seconds_until(reached: Callable[[], bool], since: float, within: float) -> float | None:
    """Seconds from `since` until then, or None if it is not reached within so many."""
    while True:
        seconds = time.monotonic() - since
        if reached():
            return seconds
        if seconds > within:
            return None
        time.sleep(0.5)


def stored(console: SupervisedConsole) -> Iterator[tuple[str, str, str]]:
    """Node, request and SHA-256 of the bytes that are stored, of each receipt."""
    with console.database() as connection, connection.cursor("receipts") as rows:
        rows.execute("SELECT node_id, request_id, raw FROM receipts_receipt")
        for node_id, request_id, raw in rows:
            yield node_id, request_id, sha256(raw).hexdigest()


def in_postgresql(console: SupervisedConsole) -> tuple[int, ...]:
    with console.database() as connection:
        totals = "SELECT count(*), sum(tokens_input), sum(tokens_output) FROM receipts_receipt"
        return tuple(int(figure) for figure in connection.execute(totals).fetchone() or ())


def in_clickhouse(console: SupervisedConsole) -> tuple[int, ...]:
    totals = "SELECT sum(count), sum(tokens_in), sum(tokens_out) FROM requests_minute FINAL"
    client = console.clickhouse()
    try:
        ((count, tokens_input, tokens_output),) = client.execute(totals)
        ((facts,),) = client.execute("SELECT count() FROM receipt_facts FINAL")
    finally:
        client.disconnect()
    return (count, tokens_input, tokens_output) if facts == count else (facts, 0, 0)


def unjudged(console: SupervisedConsole) -> int:
    with console.database() as connection:
        return int((connection.execute("SELECT count(*) FROM receipts_unjudged").fetchone() or (0,))[0])


def without_exactly_one_item(console: SupervisedConsole) -> int:
    query = """
        SELECT count(*) FROM (
            SELECT FROM receipts_receipt r LEFT JOIN earnings_item i ON i.receipt_id = r.id
            GROUP BY r.id HAVING count(i.receipt_id) <> 1) AS wrong
    """
    with console.database() as connection:
        return int((connection.execute(query).fetchone() or (0,))[0])
