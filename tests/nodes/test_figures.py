"""Standings: the last figures of all nodes from ClickHouse, and their age."""

import random
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from jatevo.metrics import queries
from jatevo.metrics.facts import Fact
from jatevo.metrics.store import MetricsUnavailable, Store
from jatevo.metrics.writer import write
from jatevo.web.figures import Knowledge
from nodes import figures
from nodes.actions import note_outage
from nodes.detail.exempt_minutes import unheard_hours
from nodes.detail.latency_charts import ChartWindow
from nodes.detail.metrics_tab import charts_context, excused_of
from nodes.figures import STALE_AFTER, refresh_standings, standing_figures
from nodes.models import NodeStanding
from nodes.rules.heartbeat_regularity import regularity
from nodes.tasks import keep_standings
from tests.factories import NodeFactory
from tests.metrics.conftest import chdb_store
from tests.metrics.wrappers import NOON_SECONDS, latency, uptime

__all__ = ["chdb_store"]

pytestmark = pytest.mark.django_db
NOON = datetime.fromtimestamp(NOON_SECONDS, UTC)


def test_every_node_gets_its_last_probe_and_its_uptime(chdb_store: Store) -> None:
    measured, unknown = NodeFactory.create(), NodeFactory.create()
    facts: list[Fact] = [
        latency("old", node_id=measured.pk, p95=900.0, ts=NOON_SECONDS - 600),
        latency("new", node_id=measured.pk, p95=300.0, ts=NOON_SECONDS - 60),
        latency("stranger", node_id="nobodys", p95=1.0, ts=NOON_SECONDS - 60),
        *(uptime(NOON - number * timedelta(minutes=1), node_id=measured.pk) for number in (3, 4, 6)),
    ]
    write(chdb_store, uuid4(), list(enumerate(facts)))
    assert refresh_standings(at=NOON) == 2
    figures = standing_figures(NodeStanding.objects.get(pk=measured.pk), at=NOON)
    assert figures.p95_ms.value == 300.0
    assert figures.uptime_7d.value == pytest.approx(3 / 4)
    nothing = standing_figures(NodeStanding.objects.get(pk=unknown.pk), at=NOON)
    assert (nothing.p95_ms.state, nothing.uptime_7d.state) == (Knowledge.UNKNOWN, Knowledge.UNKNOWN)


def test_minutes_that_may_still_be_on_their_way_are_not_missed(chdb_store: Store) -> None:
    node = NodeFactory.create()
    facts: list[Fact] = [
        uptime(NOON - number * timedelta(minutes=1), node_id=node.pk) for number in range(3, 9)
    ]
    write(chdb_store, uuid4(), list(enumerate(facts)))
    refresh_standings(at=NOON)
    assert NodeStanding.objects.get().uptime_7d == 1.0
    refresh_standings(at=NOON + timedelta(minutes=1))
    assert NodeStanding.objects.get().uptime_7d == pytest.approx(6 / 7)


def test_uptime_does_not_count_the_consoles_own_outage(chdb_store: Store) -> None:
    node = NodeFactory.create()
    heard = [*range(3, 13), *range(23, 33)]
    facts: list[Fact] = [uptime(NOON - number * timedelta(minutes=1), node_id=node.pk) for number in heard]
    write(chdb_store, uuid4(), list(enumerate(facts)))
    refresh_standings(at=NOON)
    assert NodeStanding.objects.get().uptime_7d == pytest.approx(20 / 30)
    note_outage(starts_at=NOON - timedelta(minutes=22), ends_at=NOON - timedelta(minutes=12), at=NOON)
    refresh_standings(at=NOON + timedelta(seconds=1))
    assert NodeStanding.objects.get().uptime_7d == 1.0


def test_a_probe_of_whole_milliseconds_does_not_stop_the_figures(chdb_store: Store) -> None:
    whole, other = NodeFactory.create(), NodeFactory.create()
    facts: list[Fact] = [
        latency("whole", node_id=whole.pk, p50=100, p95=200, p99=300, ts=NOON_SECONDS - 60),
        latency("other", node_id=other.pk, p50=100.5, p95=310.25, p99=311.5, ts=NOON_SECONDS - 60),
    ]
    write(chdb_store, uuid4(), list(enumerate(facts)))
    assert refresh_standings(at=NOON) == 2
    assert {each.pk: each.p95_ms for each in NodeStanding.objects.all()} == {
        whole.pk: 200.0,
        other.pk: 310.25,
    }


def test_a_node_whose_figures_cannot_be_stored_does_not_stop_the_others(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = [NodeFactory.create().pk for _ in range(4)], NodeFactory.create().pk
    nonsense = {bad: "many", **dict.fromkeys(good, 0.5)}
    monkeypatch.setattr(queries, "uptime_ratio", lambda *_, **__: nonsense)
    with capture_logs() as said:
        assert refresh_standings(at=NOON) == 4
    assert {each.pk: each.uptime_7d for each in NodeStanding.objects.all()} == dict.fromkeys(good, 0.5)
    assert [(each["log_level"], each["node_id"]) for each in said] == [("error", bad)]


@pytest.mark.parametrize("seed", range(3))
def test_list_drawer_and_heartbeats_say_one_uptime(chdb_store: Store, seed: int) -> None:
    """The list's figure, the drawer's strip and the heard minutes agree, for any minutes and outages."""
    dice = random.Random(seed)
    first = NOON - timedelta(minutes=200)
    node = NodeFactory.create(first_heard_at=first + timedelta(seconds=dice.randrange(60)))
    minutes = [first + number * timedelta(minutes=1) for number in range(198)]
    heard = [minute for minute in minutes if minute == first or dice.random() < 0.7]
    facts: list[Fact] = [uptime(minute, node_id=node.pk) for minute in heard]
    write(chdb_store, uuid4(), list(enumerate(facts)))
    for _ in range(3):
        start = first + timedelta(seconds=dice.randrange(9_000))
        note_outage(starts_at=start, ends_at=start + timedelta(seconds=dice.randrange(30, 1_500)), at=NOON)
    refresh_standings(at=NOON)
    listed = NodeStanding.objects.get().uptime_7d

    excused = excused_of(node, at=NOON)
    charts = charts_context(node, ChartWindow.DAY, excused, at=NOON)["charts"]
    drawn = charts.uptime.days
    assert sum(day.minutes_up for day in drawn) / sum(day.minutes_expected for day in drawn) == listed

    told = regularity(
        {},
        dict.fromkeys(heard, 6),
        first_heard_at=node.first_heard_at,
        at=NOON - queries.SETTLED_AFTER,
        excused=excused,
        unheard=unheard_hours(excused),
    )
    assert told.share == listed


def test_a_later_refresh_replaces_and_an_earlier_one_does_not(chdb_store: Store) -> None:
    node = NodeFactory.create()
    write(chdb_store, uuid4(), [(1, latency("p", node_id=node.pk, p95=300.0, ts=NOON_SECONDS - 60))])
    refresh_standings(at=NOON)
    assert refresh_standings(at=NOON - timedelta(minutes=30)) == 0
    refresh_standings(at=NOON + timedelta(hours=2))
    standing = NodeStanding.objects.get()
    assert (standing.p95_ms, standing.as_of) == (None, NOON + timedelta(hours=2))


def test_while_clickhouse_is_away_standings_grow_old(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeFactory.create()
    write(chdb_store, uuid4(), [(1, latency("p", node_id=node.pk, p95=300.0, ts=NOON_SECONDS - 60))])
    refresh_standings(at=NOON)

    class Away:
        def execute(self, sql: str, params: object = None) -> NoReturn:
            raise MetricsUnavailable("gone")

    monkeypatch.setattr(figures, "get_store", Away)
    keep_standings(0)  # the job does not fail
    standing = NodeStanding.objects.get()
    fresh = standing_figures(standing, at=NOON + STALE_AFTER)
    assert (fresh.p95_ms.state, fresh.old) == (Knowledge.KNOWN, False)
    stale = standing_figures(standing, at=NOON + STALE_AFTER + timedelta(seconds=1))
    assert (stale.p95_ms.value, stale.p95_ms.state, stale.p95_ms.as_of) == (300.0, Knowledge.STALE, NOON)
    assert stale.old


def test_a_node_without_a_standing_is_unknown() -> None:
    assert standing_figures(None, at=NOON).p95_ms.state is Knowledge.UNKNOWN
