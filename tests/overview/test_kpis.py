"""Each figure has one definition, and is marked if it is unknown or old."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from jatevo.metrics import shipper
from jatevo.metrics.migrator import migrate
from jatevo.metrics.models import Outbox
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.store import MetricsUnavailable, Store
from jatevo.overview import kpis
from jatevo.overview.kpis import (
    FRESH_FOR,
    KEEP_SECONDS,
    OLDEST,
    Census,
    RecentTraffic,
    Region,
    Snapshot,
    snapshot,
)
from jatevo.web.figures import Knowledge
from jatevo.web.remembered import Remembered
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.conftest import clickhouse_server
from tests.metrics.wrappers import HOUR, NOON_SECONDS, enqueue, latency, receipt
from tests.overview.conftest import NOON, DownStore
from tests.overview.measured import probes, ship

__all__ = ["clickhouse_server"]

SECOND = timedelta(seconds=1)


def test_nodes_and_models_count_only_active_nodes(fleet: list[Node], chdb_store: Store) -> None:
    network = snapshot(at=NOON)
    assert network.census.nodes == 8
    assert network.census.active_by_region == {"ap-southeast": 5, "sa-east": 0, "us-west": 2}
    assert network.active_nodes.value == 7
    assert network.models_cached.value == 3  # llama3.1-8b on five nodes, a and b on two


def test_latency_and_requests_come_from_clickhouse(fleet: list[Node], chdb_store: Store) -> None:
    yesterday = NOON_SECONDS - 25 * 3600
    ship(
        chdb_store,
        receipt("r_1", ts_end=NOON_SECONDS - 30),
        receipt("r_2", ts_end=NOON_SECONDS - 3 * 3600),
        receipt("r_old", ts_start=yesterday - 9, ts_end=yesterday, accepted_at=yesterday),
        *probes("ap-southeast", 300.04),
        *probes("us-west", 120.0),
    )
    network = snapshot(at=NOON)
    assert network.requests_24h.value == 2
    assert network.regions(fold_small=False) == [
        Region("ap-southeast", 300.0, 5),
        Region("us-west", 120.0, 2),
    ]
    assert network.p95_ms.value == 300.0


def test_latency_is_that_of_the_last_quarter_of_an_hour(fleet: list[Node], chdb_store: Store) -> None:
    old = [latency(f"old-{n}", p95=900.0, ts=NOON_SECONDS - 15 * 60 - 1 - n) for n in range(9)]
    ship(chdb_store, *old, *probes("ap-southeast", 300.0))
    network = snapshot(at=NOON)
    assert network.p95_ms.value == 300.0
    assert network.regions(fold_small=True)[0] == Region("ap-southeast", 300.0, 5)


def test_too_few_samples_are_unknown_but_no_requests_are_a_zero(fleet: list[Node], chdb_store: Store) -> None:
    ship(chdb_store, *probes("ap-southeast", 300.0, count=4))
    network = snapshot(at=NOON)
    assert network.p95_ms.value is None
    assert network.p95_ms.state is Knowledge.UNKNOWN
    assert "Too few samples" in network.p95_ms.reason
    assert (network.requests_24h.value, network.requests_24h.state) == (0, Knowledge.KNOWN)


def test_without_clickhouse_from_the_start_its_figures_are_unknown(
    fleet: list[Node], metrics_down: Callable[[], None]
) -> None:
    metrics_down()
    network = snapshot(at=NOON)
    assert network.active_nodes.value == 7
    assert [network.p95_ms.state, network.requests_24h.state] == [Knowledge.UNKNOWN, Knowledge.UNKNOWN]
    assert network.requests_24h.value is None
    assert network.regions(fold_small=False)[0] == Region("ap-southeast", None, 5)


def test_clickhouse_that_goes_away_leaves_its_last_figures_with_their_age(
    fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    ship(chdb_store, receipt(ts_end=NOON_SECONDS - 30), *probes("us-west", 120.0))
    snapshot(at=NOON)
    metrics_down()
    later = NOON + timedelta(hours=2)
    network = snapshot(at=later)
    assert (network.requests_24h.value, network.requests_24h.state) == (1, Knowledge.STALE)
    assert (network.p95_ms.value, network.p95_ms.as_of) == (120.0, NOON)
    assert network.active_nodes.as_of == later
    assert network.as_of == NOON
    # and it stays so, however often it is asked
    assert snapshot(at=later + timedelta(seconds=KEEP_SECONDS // 2)).requests_24h.as_of == NOON


def test_clickhouse_that_comes_back_is_believed_at_once(
    fleet: list[Node], chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setattr("jatevo.overview.kpis.get_store", DownStore)
        assert snapshot(at=NOON).requests_24h.state is Knowledge.UNKNOWN
    ship(chdb_store, receipt(ts_end=NOON_SECONDS - 30))
    assert snapshot(at=NOON + FRESH_FOR).requests_24h.value == 1


def test_a_snapshot_is_shared_for_a_few_seconds(fleet: list[Node], chdb_store: Store) -> None:
    snapshot(at=NOON)
    NodeFactory.create(org=fleet[0].org, status=Status.ACTIVE)
    assert snapshot(at=NOON + FRESH_FOR - SECOND).active_nodes.value == 7
    assert snapshot(at=NOON + FRESH_FOR).active_nodes.value == 8


def test_an_outage_is_remembered_for_a_few_seconds(
    fleet: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class CountingDownStore(DownStore):
        def execute(self, sql: str, params: Any = None) -> Any:
            asked.append(sql)
            raise MetricsUnavailable("connection refused")

    monkeypatch.setattr(kpis, "get_store", CountingDownStore)
    for tenth in range(40):
        snapshot(at=NOON + tenth * SECOND / 10)
    assert len(asked) == 1
    snapshot(at=NOON + FRESH_FOR)
    assert len(asked) == 2


def test_a_short_hiccup_leaves_figures_that_are_still_young_as_they_are(
    fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    ship(chdb_store, receipt(ts_end=NOON_SECONDS - 30))
    snapshot(at=NOON)
    metrics_down()
    young = snapshot(at=NOON + OLDEST - SECOND).requests_24h
    assert (young.value, young.state, young.as_of) == (1, Knowledge.KNOWN, NOON)
    assert snapshot(at=NOON + OLDEST - SECOND + FRESH_FOR).requests_24h.state is Knowledge.STALE


def test_nodes_are_still_counted_while_clickhouse_is_away(
    fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    snapshot(at=NOON)
    metrics_down()
    NodeFactory.create(org=fleet[0].org, status=Status.ACTIVE)
    later = NOON + timedelta(minutes=5)
    network = snapshot(at=later)
    assert (network.active_nodes.value, network.active_nodes.as_of) == (8, later)
    assert (network.requests_24h.state, network.requests_24h.as_of) == (Knowledge.STALE, NOON)


def test_figures_are_of_the_moment_up_to_which_all_facts_have_come(
    fleet: list[Node], chdb_store: Store
) -> None:
    """If the worker is down or catches up after an outage, ClickHouse's figures are correct but old."""
    behind = NOON - timedelta(minutes=20)
    early = [
        latency(f"early-{number}", node_id=f"n-{number}", p95=80.0, ts=NOON_SECONDS - 1300 - number)
        for number in range(5)
    ]
    ship(chdb_store, receipt("r_1", ts_end=NOON_SECONDS - 1300), *early)
    enqueue(receipt("r_2", ts_end=NOON_SECONDS - 1200), *probes("us-west", 900.0))
    Outbox.objects.update(created_at=behind)
    network = snapshot(at=NOON)
    for figure, value in ((network.requests_24h, 1), (network.p95_ms, 80.0)):
        assert (figure.value, figure.state, figure.as_of) == (value, Knowledge.STALE, behind)
        assert "behind" in figure.reason
    assert network.active_nodes.state is Knowledge.KNOWN
    shipper.ship(at=NOON, store=chdb_store)
    network = snapshot(at=NOON + FRESH_FOR)
    assert (network.requests_24h.value, network.requests_24h.state) == (2, Knowledge.KNOWN)
    assert (network.p95_ms.value, network.p95_ms.as_of) == (900.0, NOON + FRESH_FOR)


def test_the_seconds_that_shipping_takes_are_no_trouble(fleet: list[Node], chdb_store: Store) -> None:
    enqueue(receipt(ts_end=NOON_SECONDS - 3))
    Outbox.objects.update(created_at=NOON - 3 * SECOND)
    figure = snapshot(at=NOON).requests_24h
    assert (figure.state, figure.as_of) == (Knowledge.KNOWN, NOON - 3 * SECOND)


def test_rows_that_were_set_aside_hold_nothing_up(fleet: list[Node], chdb_store: Store) -> None:
    enqueue(receipt())
    Outbox.objects.update(created_at=NOON - HOUR, poisoned="nonsense")
    assert snapshot(at=NOON).requests_24h.as_of == NOON


def test_a_snapshot_grows_old_while_it_is_kept(
    fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    snapshot(at=NOON)
    metrics_down()
    assert snapshot(at=NOON + OLDEST - 4 * SECOND).requests_24h.state is Knowledge.KNOWN
    # the same snapshot, still fresh, but of figures that have become too old meanwhile
    assert snapshot(at=NOON + OLDEST).requests_24h.state is Knowledge.STALE


def test_an_answer_that_comes_too_late_serves_the_next_page(
    fleet: list[Node],
    chdb_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    patience_of_production: None,
) -> None:
    ship(chdb_store, receipt(ts_end=NOON_SECONDS - 30))
    answer_now = threading.Event()
    remembered: queue.SimpleQueue[RecentTraffic] = queue.SimpleQueue()
    remember = Remembered.set

    class SlowStore:
        def execute(self, sql: str, params: Any = None) -> Any:
            assert answer_now.wait(10)
            return chdb_store.execute(sql, params)

    def remember_and_tell(place: Remembered[Any], answer: Any) -> None:
        remember(place, answer)
        if "traffic" in place.key:
            remembered.put(answer.value)

    monkeypatch.setattr(kpis, "get_store", SlowStore)
    monkeypatch.setattr(Remembered, "set", remember_and_tell)
    begun = time.monotonic()
    assert snapshot(at=NOON).requests_24h.state is Knowledge.UNKNOWN
    assert time.monotonic() - begun < 9
    answer_now.set()
    assert remembered.get(timeout=10).as_of == NOON
    answer_now.clear()
    late = snapshot(at=NOON + FRESH_FOR).requests_24h
    assert (late.value, late.state, late.as_of) == (1, Knowledge.KNOWN, NOON)
    answer_now.set()  # so that the helper is free for other tests
    assert remembered.get(timeout=10).as_of == NOON + FRESH_FOR


@pytest.mark.django_db(transaction=True)
def test_two_hundred_misses_ask_postgresql_and_clickhouse_once(
    fleet: list[Node], chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Snapshot] = []
    take = kpis.take

    def counting(**given: Any) -> Snapshot:
        taken.append(take(**given))
        return taken[-1]

    monkeypatch.setattr(kpis, "take", counting)
    ready = threading.Barrier(200)

    def ask(_: int) -> int | float | None:
        ready.wait()
        try:
            return snapshot(at=NOON).active_nodes.value
        finally:
            connection.close()

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(ask, range(200))) == [7] * 200
    assert len(taken) == 1


@pytest.fixture
def hung_server(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClickHouseServer]:
    """A real ClickHouse that accepts connections and does not answer."""
    store = Store(NativeTransport(clickhouse_server.url(), timeout_seconds=10.0))
    migrate(store, at=NOON)
    ended: list[threading.Event] = []
    ask = kpis._ask

    def watched(now: Census, until: datetime) -> RecentTraffic:
        ended.append(threading.Event())
        here = ended[-1]
        try:
            return ask(now, until)
        finally:
            here.set()

    monkeypatch.setattr(kpis, "get_store", lambda: store)
    monkeypatch.setattr(kpis, "_ask", watched)
    clickhouse_server.pause()
    yield clickhouse_server
    clickhouse_server.resume()
    assert all(here.wait(10) for here in ended), "no helper is left with the store"
    store.close()


def test_a_clickhouse_that_hangs_costs_less_than_its_time_out(
    fleet: list[Node], hung_server: ClickHouseServer, patience_of_production: None
) -> None:
    for later in (timedelta(), FRESH_FOR, 2 * FRESH_FOR):
        begun = time.monotonic()
        network = snapshot(at=NOON + later)
        assert time.monotonic() - begun < 9
        assert network.active_nodes.value == 7
        assert network.requests_24h.state is Knowledge.UNKNOWN


def test_the_queries_are_three_whatever_the_number_of_nodes(
    fleet: list[Node], chdb_store: Store, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(3):
        snapshot(at=NOON)
    NodeFactory.create_batch(20, org=fleet[0].org, status=Status.ACTIVE)
    with django_assert_num_queries(3):
        snapshot(at=NOON + FRESH_FOR)
    with django_assert_num_queries(0):
        snapshot(at=NOON + FRESH_FOR + SECOND)
