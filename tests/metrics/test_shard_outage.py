"""A shard that is stopped is like a ClickHouse that is down: figures get older and never smaller, and ingest goes on."""

from collections.abc import Iterator
from datetime import timedelta

import orjson
import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from jatevo.accounts.models import Role
from jatevo.metrics import store as stores
from jatevo.metrics.cluster_transport import ClusterTransport
from jatevo.metrics.migrator import migrate
from jatevo.metrics.models import Outbox
from jatevo.metrics.queries import receipt_totals, requests_count
from jatevo.metrics.shipper import ship
from jatevo.metrics.store import MetricsUnavailable, Store, get_store
from jatevo.overview.kpis import snapshot
from jatevo.web import health
from jatevo.web.figures import Knowledge
from nodes.models import Node
from nodes.rules.lifecycle import Status
from receipts.search.filling import fill
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, signed_receipt
from tests.machines import SignedSender
from tests.metrics import clickhouse_cluster
from tests.metrics.clickhouse_cluster import ClickHouseCluster
from tests.metrics.unhurried import unhurried

__all__ = ["unhurried"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unhurried")]
NODES = 12
TOTALS = "/receipts/~totals/"


@pytest.fixture
def console(
    two_shards: ClickHouseCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """The console's own store is the cluster, with tables of the test's own."""
    settings.CLICKHOUSE_URL = two_shards.url("outage")
    settings.CLICKHOUSE_CLUSTER, settings.CLICKHOUSE_REPLICATED = clickhouse_cluster.NAME, False
    monkeypatch.setattr(stores, "_stores", {})
    monkeypatch.setattr(stores, "OPEN_SECONDS", 0.0)  # the breaker lets every question through
    store = get_store()
    migrate(store, at=timezone.now())
    yield store
    if two_shards.shards[1][0].process.poll() is not None:
        two_shards.restart(1)
    store.execute_on_each("DROP DATABASE outage")
    store.close()


@pytest.fixture
def fleet() -> list[Node]:
    nodes: list[Node] = NodeFactory.create_batch(NODES, status=Status.ACTIVE)
    return nodes


def serve(fleet: list[Node], name: str) -> None:
    """Each node posts a receipt, which is acknowledged."""
    for node in fleet:
        payload = signed_receipt(node.pk, request_id=f"{name}-{node.pk}")
        assert SignedSender.node(node).send("/v1/receipts", orjson.dumps(payload)).status_code == 201


def counted(store: Store) -> tuple[int, int]:
    """The receipts of the last hour, by both tables that count them."""
    window = timezone.now() - timedelta(hours=1), timezone.now() + timedelta(minutes=1)
    return requests_count(store, *window), receipt_totals(store, *window).count


def test_ingest_does_not_notice_and_what_waited_arrives_once(
    console: Store, two_shards: ClickHouseCluster, fleet: list[Node]
) -> None:
    serve(fleet, "before")
    assert ship(at=timezone.now()).receipts == NODES
    assert counted(console) == (NODES, NODES)
    two_shards.kill(1)
    serve(fleet, "meanwhile")
    for _ in range(3):  # each time a part of the batch is written again
        with pytest.raises(MetricsUnavailable):
            ship(at=timezone.now())
    assert Outbox.objects.waiting().count() == NODES
    assert not Outbox.objects.set_aside().exists()
    with pytest.raises(MetricsUnavailable):
        counted(console)
    serve(fleet, "later")
    two_shards.restart(1)
    while ship(at=timezone.now()).rows:
        pass
    assert not Outbox.objects.exists()
    assert counted(console) == (3 * NODES, 3 * NODES)


def test_a_shard_that_hangs_is_given_up_and_what_waited_arrives_once(
    console: Store, two_shards: ClickHouseCluster, fleet: list[Node]
) -> None:
    quick = Store(
        ClusterTransport(
            two_shards.url("outage"), clickhouse_cluster.NAME, replicated=False, timeout_seconds=2.0
        )
    )
    serve(fleet, "before")
    two_shards.shards[1][0].pause()
    try:
        with pytest.raises(MetricsUnavailable):
            ship(at=timezone.now(), store=quick)
        with pytest.raises(MetricsUnavailable):
            counted(quick)
    finally:
        two_shards.shards[1][0].resume()
        quick.close()
    assert Outbox.objects.waiting().count() == NODES
    while ship(at=timezone.now()).rows:
        pass
    assert counted(console) == (NODES, NODES)


def test_pages_show_the_last_good_figures_and_say_so(
    console: Store, two_shards: ClickHouseCluster, fleet: list[Node]
) -> None:
    serve(fleet, "before")
    ship(at=timezone.now())
    now = timezone.now() + timedelta(minutes=1)
    with time_machine.travel(now, tick=False):
        fill(at=now + timedelta(seconds=1))
        fill(at=now + timedelta(seconds=1))
        admin = Browser().hold_session(make_user(Role.ADMIN))
        known = admin.get(TOTALS).context["strip"]
        assert known.receipts.value == NODES
        assert not known.stale
        overview = text_of(admin.get("/"))
        assert "Stale" not in overview
    two_shards.kill(1)
    with time_machine.travel(now + timedelta(minutes=7), tick=False):
        health.forget()
        answer = admin.get(TOTALS)
        assert answer.context["strip"].receipts.value == NODES
        assert answer.context["strip"].stale
        assert ">stale, " in text_of(answer)
        overview = text_of(admin.get("/"))
        assert "Stale" in overview
        requests = snapshot(at=timezone.now()).requests_24h
        assert (requests.value, requests.state) == (NODES, Knowledge.STALE)
        # what nobody asked for before is not known, and no smaller figure
        unasked = admin.get(f"{TOTALS}?hedged=false").context["strip"]
        assert unasked.receipts.value is None
        ready = admin.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
