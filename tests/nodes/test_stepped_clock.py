"""A clock of the console that is set by ten minutes, and back, takes no node offline, and hides no silence for long."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
import time_machine
from pytest_django import Settings

from jatevo.web.errors import ApiError
from jatevo.web.gathering import Later
from nodes.actions import Beat, SentBeat, heartbeats
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.ingress.signed import SignedRequest
from nodes.models import Exemption, HeartbeatMinute, Node, SweeperClock
from nodes.rules.lifecycle import Status
from nodes.sweeper import sweep
from tests.factories import NodeFactory
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
RIGHT = timedelta(0)
STEP = timedelta(minutes=10)
STEPS = pytest.mark.parametrize("step", [STEP, -STEP], ids=["ahead", "behind"])
INTERVAL = timedelta(seconds=10)
# Whether most nodes fell silent at once is only asked of a fleet that is large enough (nodes/rules/common_silence.py).
SMALL_FLEET, LARGE_FLEET = 3, 6


class Fleet:
    """Nodes that have sent heartbeats for hours. The clock of the console may be off, theirs are right."""

    def __init__(self, size: int) -> None:
        SweeperClock.objects.create(last_run_at=NOW - INTERVAL, counting_from=NOW - timedelta(days=1))
        long_ago = NOW - timedelta(days=1)
        self.nodes = [NodeFactory.create(status=Status.ACTIVE, status_since=long_ago) for _ in range(size)]
        self.true = NOW - INTERVAL
        self._hear(self.nodes, at=self.true)
        self.true = NOW
        HeartbeatMinute.objects.bulk_create(
            HeartbeatMinute(node=node, minute=NOW.replace(second=0) - timedelta(minutes=minutes), beats=6)
            for node in self.nodes
            for minutes in range(1, 90)
        )

    def live(self, seconds: int, *, off: timedelta, silent: int = 0) -> int:
        """Sweeps, and then hears all but `silent` of the nodes. Returns how many were taken offline."""
        offline = 0
        for _ in range(0, seconds, 10):
            offline += sweep(at=self.true + off).offline
            self._hear(self.nodes[silent:], at=self.true + off)
            self.true += INTERVAL
        return offline

    def statuses(self) -> set[str]:
        return set(Node.objects.values_list("status", flat=True))

    def _hear(self, nodes: list[Node], *, at: datetime) -> None:
        beat = Beat(ts=self.true.timestamp(), metrics={})
        heartbeats(sent=[SentBeat(node.pk, beat) for node in nodes], at=at)


@STEPS
def test_clock_that_is_set_wrong_and_right_again_takes_no_node_out_of_service(step: timedelta) -> None:
    fleet = Fleet(SMALL_FLEET)
    offline = fleet.live(20, off=RIGHT)
    offline += fleet.live(30, off=step)
    offline += fleet.live(330, off=RIGHT)
    assert offline == 0
    assert fleet.statuses() == {Status.ACTIVE}


@STEPS
def test_nodes_that_follow_the_consoles_clock_stay_in_service(step: timedelta, settings: Settings) -> None:
    """Some of their heartbeats are refused, until `ts` is later than before. That is no silence."""
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"node": "1000/second"}
    fleet = Fleet(SMALL_FLEET)
    senders = [Follower(node) for node in fleet.nodes]
    statuses = []
    for seconds, off in ((40, RIGHT), (120, step), (1000, RIGHT)):
        for _ in range(0, seconds, 40):
            assert sweep(at=fleet.true + off).offline == 0
            with time_machine.travel(fleet.true + off, tick=False):
                statuses += [sender.beat(fleet.true) for sender in senders]
            fleet.true += 4 * INTERVAL
    assert fleet.statuses() == {Status.ACTIVE}
    assert set(statuses) == {200, 401, 409}
    assert statuses[-SMALL_FLEET:] == [200] * SMALL_FLEET


class Follower:
    """Sends a node's heartbeats, and sets its clock by the console's answers, as the agent does."""

    def __init__(self, node: Node) -> None:
        self._node = SignedSender.node(node)
        self._off = 0.0

    def beat(self, true: datetime) -> int:
        ts = true.timestamp() + self._off
        raw = orjson.dumps({"node_id": self._node.sender, "ts": ts, "metrics": {"uptime": 1}})
        headers = self._node.headers(raw, at=ts)
        request = SignedRequest(
            self._node.sender,
            headers["webhook-id"],
            headers["webhook-timestamp"],
            headers["webhook-signature"],
            raw,
            "192.0.2.1",
            "a-test",
        )
        (answer,) = HEARTBEATS.answer([request])
        assert not isinstance(answer, Later)
        if isinstance(answer, ApiError) and answer.type == "clock_skew":
            self._off = answer.body()["error"]["server_time"] - true.timestamp()
        return answer.status


@STEPS
def test_node_that_falls_silent_after_the_clock_was_set_goes_offline_in_time(step: timedelta) -> None:
    fleet = Fleet(SMALL_FLEET)
    fleet.live(20, off=RIGHT)
    fleet.live(20, off=step)
    assert fleet.live(290, off=step, silent=1) == 0
    assert fleet.live(30, off=step, silent=1) == 1


def test_outage_that_began_while_the_clock_was_ahead_ends_when_nodes_are_heard() -> None:
    fleet = Fleet(LARGE_FLEET)
    fleet.live(20, off=RIGHT)
    fleet.live(90, off=STEP, silent=LARGE_FLEET)
    assert Exemption.objects.filter(ends_at=None).exists()
    fleet.live(30, off=RIGHT)
    assert not Exemption.objects.filter(ends_at=None).exists()
    assert fleet.statuses() == {Status.ACTIVE}
