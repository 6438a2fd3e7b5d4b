"""When the console's clock is set by ten minutes and back, no node goes offline, and nothing acknowledged is lost.

Web, lane and worker have a clock that is set while they run. The stores and the nodes keep the true time. Nodes send
heartbeats and receipts all along, of two kinds: those that keep their clock, so that all they send is refused meanwhile,
and those that take over the console's time, as the agent does.
JATEVO_CHAOS_STEPPED_SECONDS is how long the clock stays wrong, JATEVO_CHAOS_STEP_SECONDS by how much.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.chaos.faked_clock import FakedClock, find_library
from tests.chaos.heart import Heart
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person
from tests.chaos.supervised import SupervisedConsole
from tests.chaos.test_two_hundred_faults import (
    acknowledged_by,
    in_clickhouse,
    in_postgresql,
    in_seconds,
    seconds_until,
    stored,
    unjudged,
)

STEP_SECONDS = int(os.environ.get("JATEVO_CHAOS_STEP_SECONDS", "600"))
STEPPED_SECONDS = float(os.environ.get("JATEVO_CHAOS_STEPPED_SECONDS", "100"))
OFFLINE_AFTER_SECONDS = 45  # less than half of STEPPED_SECONDS, and of the step
NODES = 6  # so many that a common silence of theirs is not their own (nodes/rules/common_silence.py)
NOTICED_SECONDS = 5.0
BEATS = 3
BACK_WITHIN_SECONDS = 60.0
NOTICED_WITHIN_SECONDS = 60.0
RIGHT_WITHIN_SECONDS = 60.0
# 401 while the clocks differ; 409 until a time is later than that of the last heartbeat; 422 for a receipt of a request
# that ended after what the console's clock says.
BUSY = {0, 429, 503}
ACCEPTABLE = {200, 401, 409} | BUSY


@dataclass(frozen=True)
class Spell:
    """A time during which the console's clock is wrong by `off` seconds. `follow`: nodes take over its time."""

    off: int
    follow: bool

    def __str__(self) -> str:
        return f"clock {self.off:+d} s, nodes {'follow it' if self.follow else 'keep theirs'}"

    @property
    def status(self) -> int:
        """The answer to heartbeats meanwhile. With a clock behind, those that follow are not later than their last."""
        return 401 if not self.follow else 200 if self.off > 0 else 409

    @property
    def outages(self) -> int:
        """With a clock behind, the last heartbeats seem to be of the future, so that nobody is silent yet."""
        return int(self.off > 0 and not self.follow)

    @property
    def back_within_seconds(self) -> float:
        """Until heartbeats are accepted again. Those that were ahead are not later than their last before."""
        return BACK_WITHIN_SECONDS + (self.off if self.follow and self.off > 0 else 0)


SPELLS = (
    Spell(STEP_SECONDS, follow=False),
    Spell(-STEP_SECONDS, follow=False),
    Spell(-STEP_SECONDS, follow=True),
    Spell(STEP_SECONDS, follow=True),
)


@pytest.fixture
def clock(tmp_path: Path) -> FakedClock:
    library = find_library()
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    return FakedClock(library, tmp_path)


@pytest.fixture
def console(clock: FakedClock) -> Iterator[SupervisedConsole]:
    settings = {**clock.environment, "JATEVO_OFFLINE_AFTER_SECONDS": str(OFFLINE_AFTER_SECONDS)}
    made = SupervisedConsole(settings=settings)
    try:
        made.start()
        made.set_a_rate()
        yield made
    finally:
        made.remove()
        clock.forget(unit.process.pid for unit in made.units.values())


@pytest.fixture
def nodes(console: SupervisedConsole) -> Iterator[list[InsistentNode]]:
    """Half of them post to the lane. In service for long, and reached by validators, so that they are not asked challenges."""
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": NODES, "org": org})
    made = [
        InsistentNode(
            console.url,
            f"stepped-{number}",
            enrolment["token"],
            batches=False,
            lane=console.lane if number % 2 else "",
            retried={401, 429, 503},
            postponed={422},
        )
        for number in range(NODES)
    ]
    for node in made:
        assert node.beat().status_code == 200
    console.put_in_service()
    with console.database() as connection:
        connection.execute("UPDATE nodes_node SET endpoint = 'https://node.example', reachable = true")
        connection.execute("UPDATE nodes_nodekey SET valid_from = valid_from - interval '1 day'")
    yield made
    for node in made:
        node.abandon()


@pytest.mark.chaos
@pytest.mark.timeout(int(len(SPELLS) * (STEPPED_SECONDS + 2 * NOTICED_WITHIN_SECONDS) + STEP_SECONDS + 600))
def test_clock_that_is_set_takes_no_node_offline_and_loses_nothing(
    clock: FakedClock,
    console: SupervisedConsole,
    nodes: list[InsistentNode],
    capsys: pytest.CaptureFixture[str],
) -> None:
    hearts = [Heart(node, ACCEPTABLE) for node in nodes]
    for node, heart in zip(nodes, hearts, strict=True):
        node.start()
        heart.start()
    assert beat_again(hearts, within_seconds=BACK_WITHIN_SECONDS) is not None

    for spell in SPELLS:
        for node in nodes:
            node.follow(spell.follow)
        acknowledged = acknowledged_by(nodes)
        clock.set_ahead(spell.off)
        time.sleep(NOTICED_SECONDS)
        before = heard(hearts)
        time.sleep(STEPPED_SECONDS)
        meanwhile = heard(hearts) - before
        taken = acknowledged_by(nodes) - acknowledged
        noticed = open_outages_become(console, spell.outages, within_seconds=NOTICED_WITHIN_SECONDS)
        console.wait_until_ready(within_seconds=BACK_WITHIN_SECONDS)
        page = httpx.get(f"{console.url}/status/", timeout=30, trust_env=False).status_code
        clock.set_ahead(0)
        time.sleep(NOTICED_SECONDS)
        before = heard(hearts)
        back = beat_again(hearts, within_seconds=spell.back_within_seconds)
        with capsys.disabled():
            print(
                f"\n{spell}: heartbeats {dict(meanwhile)}, receipts taken {taken}, "
                f"{spell.outages} outages on record {in_seconds(noticed)} later; "
                f"set right: {dict(heard(hearts) - before)}, all accepted again after {in_seconds(back)}",
                flush=True,
            )
        assert transitions(console) == [], spell
        assert back is not None, spell
        assert page == 200, spell
        assert set(meanwhile) - BUSY == {spell.status}, spell
        assert noticed is not None, f"{spell}: {open_outages(console)} outages"
        if spell.follow:
            assert taken > NODES * STEPPED_SECONDS, spell
        ended = open_outages_become(console, 0, within_seconds=NOTICED_WITHIN_SECONDS)
        assert ended is not None, f"{spell}: the outage goes on"

    for heart in hearts:
        heart.ending.set()
    for heart in hearts:
        heart.join(30)
    for node in nodes:
        node.finish(timeout_seconds=STEP_SECONDS)
    over = time.monotonic()
    equal = seconds_until(
        lambda: in_clickhouse(console) == in_postgresql(console), over, RIGHT_WITHIN_SECONDS
    )
    accrued = seconds_until(lambda: not unjudged(console), over, RIGHT_WITHIN_SECONDS)
    found = Counter(stored(console))
    acknowledged_ones = {
        (node.node_id, *entry) for node in nodes for entry in node.ledger.acknowledged.items()
    }
    missing = acknowledged_ones - set(found)
    with capsys.disabled():
        print(
            f"acknowledged {len(acknowledged_ones)}, stored {found.total()}, missing {len(missing)}, "
            f"retries {sum(node.ledger.retries for node in nodes)}; "
            f"ClickHouse equal after {in_seconds(equal)}, all receipts itemised after {in_seconds(accrued)}",
            flush=True,
        )
    assert console.failures == []
    assert [surprise for node in nodes for surprise in node.ledger.surprises] == []
    assert [surprise for heart in hearts for surprise in heart.surprises] == []
    assert missing == set()
    assert found.total() == len(found) == len(acknowledged_ones)
    assert transitions(console) == []
    assert set(console.restarts().values()) == {0}
    assert equal is not None
    assert accrued is not None, f"{unjudged(console)} receipts have no item"


def heard(hearts: list[Heart]) -> Counter[int]:
    """The answers to heartbeats so far, by status."""
    return sum((heart.statuses for heart in hearts), Counter[int]())


def beat_again(hearts: list[Heart], *, within_seconds: float) -> float | None:
    """Seconds until a few heartbeats of each were accepted, or None."""
    wanted = [heart.statuses[200] + BEATS for heart in hearts]
    return seconds_until(
        lambda: all(heart.statuses[200] >= least for heart, least in zip(hearts, wanted, strict=True)),
        time.monotonic(),
        within_seconds,
    )


def transitions(console: SupervisedConsole) -> list[tuple[str, ...]]:
    """All that nodes went through after they were put in service."""
    with console.database() as connection:
        return connection.execute(
            "SELECT node_id, from_status, to_status, reason FROM nodes_nodetransition"
            " WHERE from_status = 'active' ORDER BY id"
        ).fetchall()


def open_outages_become(console: SupervisedConsole, count: int, *, within_seconds: float) -> float | None:
    """Seconds until so many outages last, or None."""
    return seconds_until(lambda: open_outages(console) == count, time.monotonic(), within_seconds)


def open_outages(console: SupervisedConsole) -> int:
    query = "SELECT count(*) FROM nodes_exemption WHERE kind = 'outage' AND ends_at IS NULL"
    with console.database() as connection:
        return int((connection.execute(query).fetchone() or (0,))[0])
