"""The Metrics tab with a real store, and while the store is down or hangs."""

import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jatevo.accounts.models import Org
from jatevo.metrics.facts import Fact
from jatevo.metrics.migrator import migrate
from jatevo.metrics.models import Outbox
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.store import Store
from jatevo.metrics.transport import Param, Row
from jatevo.metrics.writer import write
from nodes.detail import metrics_tab
from nodes.detail.latency_charts import ChartWindow
from nodes.detail.metrics_tab import charts_context
from nodes.models import Exemption, HeartbeatMinute, Node, NodeHour, NodeStanding, NodeTransition
from nodes.rules.lifecycle import Reason, Status
from tests.accounts.browser import Browser, text_of
from tests.factories import NodeFactory
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.conftest import chdb_store, clickhouse_server
from tests.metrics.wrappers import enqueue, latency, uptime
from tests.overview.conftest import DownStore

__all__ = ["chdb_store", "clickhouse_server"]

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CHARTS = {"HX-Request": "true", "HX-Target": "node-charts"}
LIVE = {"HX-Request": "true", "HX-Target": "node-tab"}
DRAWER = {"HX-Request": "true", "HX-Target": "drawer-body"}


@pytest.fixture
def node(org: Org) -> Node:
    now = timezone.now()
    made: Node = NodeFactory.create(id="macbook-001", org=org, status=Status.ACTIVE)
    Node.objects.filter(pk=made.pk).update(
        created_at=now - timedelta(days=20), first_heard_at=now - timedelta(days=20)
    )
    NodeStanding.objects.create(node=made, p50_ms=41, p95_ms=97, p99_ms=123, uptime_7d=0.5, as_of=now)
    return made


def ship(store: Store, *facts: Fact) -> None:
    write(store, uuid4(), list(enumerate(facts)))


def measured(node: Node, *, at: datetime) -> list[Fact]:
    """A probe each 5 minutes of the last hour, and the last three hours heard but for one minute.

    Of three hours one at least is a whole hour of the clock and settled, whatever the time is.
    """
    probes: list[Fact] = [
        latency(
            f"p-{back}", node_id=node.pk, ts=int((at - back * MINUTE).timestamp()), p50=40, p95=90, p99=110
        )
        for back in range(5, 60, 5)
    ]
    minute = at.replace(second=0, microsecond=0)
    return [
        *probes,
        *(uptime(minute - back * MINUTE, node_id=node.pk) for back in range(1, 181) if back != 7),
    ]


@pytest.mark.parametrize(("window", "said"), [("24h", "each probe"), ("7d", "by hour: median p50")])
def test_the_charts_show_what_was_measured(
    operator: Browser, node: Node, chdb_store: Store, window: str, said: str
) -> None:
    ship(chdb_store, *measured(node, at=timezone.now()))
    text = text_of(operator.get(f"/nodes/{node.pk}/?window={window}", headers=CHARTS))
    assert said in text
    assert f'id="window-{window}" href="/nodes/{node.pk}/?tab=metrics' in text
    assert text.count("<polyline") >= 3
    assert "110 ms" in text
    assert "Stale" not in text
    assert text.count("up 95 % of the hour") == 1
    assert text.count("<title>") == 168
    assert "of 60 minutes</title>" in text


def test_the_running_hour_does_not_make_up_for_a_lost_minute_with_an_early_one(
    node: Node, chdb_store: Store
) -> None:
    half_past = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    lost = (7, 9)
    ship(
        chdb_store,
        *(
            uptime(half_past - back * MINUTE, node_id=node.pk)
            for back in range(1, 121)  # the last two are in already
            if back not in lost
        ),
    )
    charts = charts_context(node, ChartWindow.DAY, {}, at=half_past)["charts"]
    cell = charts.uptime.days[0].cells[-1]
    assert (cell.minutes_up, cell.minutes_expected) == (26, 28)


def test_excused_time_is_marked_as_such_in_both_strips_and_no_silence(
    operator: Browser, node: Node, chdb_store: Store
) -> None:
    now = timezone.now()
    minute = now.replace(second=0, microsecond=0)
    ship(chdb_store, uptime(minute - 8 * 24 * HOUR, node_id=node.pk))  # heard once, long ago
    Exemption.objects.create(
        kind="maintenance", node=node, starts_at=minute - 20 * MINUTE, ends_at=minute - 10 * MINUTE
    )
    Exemption.objects.create(kind="outage", starts_at=minute - 100 * HOUR, ends_at=minute - 96 * HOUR)
    other = NodeFactory.create(org=node.org)
    Exemption.objects.create(
        kind="maintenance", node=other, starts_at=minute - 30 * MINUTE, ends_at=minute - 25 * MINUTE
    )
    charts = text_of(operator.get(f"/nodes/{node.pk}/", headers=CHARTS))
    assert charts.count("up 0 of 60 minutes, 60 exempt (console outage)</title>") >= 3
    assert "exempt: maintenance, an incident or a console outage" in charts
    live = text_of(operator.get(f"/nodes/{node.pk}/", headers=LIVE))
    assert live.count("0 received, maintenance</title>") == 10
    assert "10 min exempt" in live
    assert "Longest gap not exempt" in live
    assert "23 h 40 min <span" in live  # until the maintenance began


def test_a_poll_of_the_charts_notices_what_is_excused(
    operator: Browser, node: Node, chdb_store: Store
) -> None:
    now = timezone.now()
    ship(chdb_store, uptime(now.replace(second=0, microsecond=0) - 24 * HOUR, node_id=node.pk))
    etag = operator.get(f"/nodes/{node.pk}/", headers=CHARTS)["ETag"]
    asked = {**CHARTS, "If-None-Match": etag}
    assert operator.get(f"/nodes/{node.pk}/", headers=asked).status_code == 304
    Exemption.objects.create(kind="outage", starts_at=now - 9 * HOUR, ends_at=now - 5 * HOUR)
    assert operator.get(f"/nodes/{node.pk}/", headers=asked).status_code == 200


def test_a_chart_of_more_probes_than_it_can_draw_says_so(
    operator: Browser, node: Node, chdb_store: Store
) -> None:
    second = int(timezone.now().timestamp())
    ship(
        chdb_store,
        *(
            latency(
                f"p-{back}", node_id=node.pk, ts=second - 30 - 60 * back, p95=900.0 if back % 4 else 100.0
            )
            for back in range(600)
        ),
    )
    text = text_of(operator.get(f"/nodes/{node.pk}/", headers=CHARTS))
    assert "highest in each 4 minutes" in text
    assert "each probe<" not in text
    assert "From 600 probes" in text


def test_what_is_still_on_its_way_is_not_drawn_as_missing(
    operator: Browser, node: Node, chdb_store: Store
) -> None:
    now = timezone.now()
    ship(chdb_store, *measured(node, at=now - 90 * MINUTE))
    enqueue(uptime(now.replace(second=0, microsecond=0) - 91 * MINUTE, node_id=node.pk))
    Outbox.objects.update(created_at=now - 90 * MINUTE)
    charts = text_of(operator.get(f"/nodes/{node.pk}/", headers=CHARTS))
    assert "or is behind. The chart is as of" in charts
    assert "1 h ago" in charts
    assert "up 0 of" not in charts
    Outbox.objects.all().delete()
    assert "The chart is as of" not in text_of(operator.get(f"/nodes/{node.pk}/", headers=CHARTS))


def test_both_windows_are_links_that_work_without_a_script(operator: Browser, node: Node) -> None:
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert f'href="/nodes/{node.pk}/?tab=metrics&amp;window=7d"' in page
    page = text_of(operator.get(f"/nodes/{node.pk}/?window=7d"))
    assert f'id="window-24h" href="/nodes/{node.pk}/?tab=metrics"' in page
    assert text_of(operator.get(f"/nodes/{node.pk}/?window=bogus"))


def test_charts_answer_a_poll_with_304_until_a_probe_comes(
    operator: Browser, node: Node, chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    ship(chdb_store, *measured(node, at=now))
    first = operator.get(f"/nodes/{node.pk}/", headers=CHARTS)
    asked = {**CHARTS, "If-None-Match": first["ETag"]}
    assert operator.get(f"/nodes/{node.pk}/", headers=asked).status_code == 304
    monkeypatch.setattr(metrics_tab, "_FRESH_FOR", dict.fromkeys(ChartWindow, timedelta(0)))
    ship(chdb_store, latency("news", node_id=node.pk, ts=int(now.timestamp()) - 1, p99=7777.0))
    assert "7,777 ms" in text_of(operator.get(f"/nodes/{node.pk}/", headers=asked))


def test_a_store_that_is_away_leaves_the_last_good_charts_with_their_age(
    operator: Browser, node: Node, chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_tab, "_FRESH_FOR", dict.fromkeys(ChartWindow, timedelta(0)))
    ship(chdb_store, *measured(node, at=timezone.now()))
    assert "Stale" not in text_of(operator.get(f"/nodes/{node.pk}/"))
    monkeypatch.setattr(metrics_tab, "get_store", DownStore)
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "The metrics store cannot be reached, or is behind. The chart is as of <time" in page
    assert "<polyline" in page
    page = text_of(operator.get(f"/nodes/{node.pk}/?window=7d"))
    assert "there is no earlier copy" in page
    assert "<polyline" not in page


def test_old_standings_are_called_stale(operator: Browser, node: Node) -> None:
    NodeStanding.objects.update(as_of=timezone.now() - 10 * MINUTE)
    text = text_of(operator.get(f"/nodes/{node.pk}/", headers=CHARTS))
    assert "Last known figures, from <time" in text  # the three percentiles
    assert text.count("stale, ") == 1  # the uptime


class WatchedStore(Store):
    """Records when every query has ended, even if its caller has stopped waiting."""

    ended: list[threading.Event]

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        here = threading.Event()
        self.ended.append(here)
        try:
            return super().execute(sql, params)
        finally:
            here.set()


@pytest.fixture
def hung_server(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClickHouseServer]:
    """A real ClickHouse that accepts connections and does not answer."""
    store = WatchedStore(NativeTransport(clickhouse_server.url(), timeout_seconds=10.0))
    store.ended = []
    migrate(store, at=timezone.now())
    monkeypatch.setattr(metrics_tab, "get_store", lambda: store)
    clickhouse_server.pause()
    yield clickhouse_server
    clickhouse_server.resume()
    assert all(here.wait(10) for here in store.ended), "no helper is left with the store"
    store.close()


def test_a_store_that_hangs_costs_the_page_less_than_its_time_out(
    operator: Browser, node: Node, hung_server: ClickHouseServer, patience_of_production: None
) -> None:
    for window in ("24h", "7d"):
        begun = time.monotonic()
        page = text_of(operator.get(f"/nodes/{node.pk}/?window={window}"))
        assert time.monotonic() - begun < 9
        assert "97 ms" in page  # PostgreSQL's figures are there


def test_regularity_counts_minutes_and_names_the_longest_silence(operator: Browser, node: Node) -> None:
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    whole = (1 << 60) - 1
    for back in range(25):
        heard = whole & ~(0b11111 << 10) if back == 3 else whole
        NodeHour.objects.create(node=node, hour=this_hour - back * HOUR, heard=heard)
    text = text_of(operator.get(f"/nodes/{node.pk}/", headers=LIVE))
    assert "1,435 of 1,440" in text
    assert "5 min <span" in text


def test_each_part_is_requested_separately(operator: Browser, node: Node) -> None:
    charts = text_of(operator.get(f"/nodes/{node.pk}/", headers=CHARTS))
    live = text_of(operator.get(f"/nodes/{node.pk}/", headers=LIVE))
    assert ("Uptime" in charts, "Latest probes" in charts) == (True, False)
    assert ("data-series" in live, "Latest probes" in live) == (False, True)


@pytest.mark.parametrize(
    ("tab", "queries"),
    [("metrics", 8), ("receipts", 6), ("hardware", 4), ("earnings", 27), ("reputation", 6), ("history", 10)],
)
def test_the_drawer_asks_postgresql_a_bounded_number_of_questions(
    operator: Browser,
    node: Node,
    tab: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    # an outage that a node of the same network and region shared: what the history compares
    Node.objects.filter(pk=node.pk).update(asn_hint="AS64500")
    for each in (node, *NodeFactory.create_batch(5, org=node.org, asn_hint="AS64500")):
        NodeTransition.objects.create(
            node=each, at=timezone.now() - HOUR, from_status="active", to_status="offline",
            reason=Reason.NO_HEARTBEAT, actor_kind="system", actor_id="console",
        )  # fmt: skip
    minute = timezone.now().replace(second=0, microsecond=0)
    HeartbeatMinute.objects.bulk_create(
        [HeartbeatMinute(node=node, minute=minute - back * MINUTE, beats=6) for back in range(60)]
    )
    operator.get(f"/nodes/{node.pk}/", headers=DRAWER)
    with django_assert_num_queries(queries):
        text_of(operator.get(f"/nodes/{node.pk}/?tab={tab}", headers=DRAWER))
