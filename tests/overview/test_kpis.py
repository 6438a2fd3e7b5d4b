"""Each figure has one definition, and says when it is not known or old."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from jatevo.metrics.facts import Fact
from jatevo.metrics.store import Store
from jatevo.metrics.writer import write
from jatevo.overview.kpis import FRESH_FOR, KEEP_SECONDS, OTHER_REGIONS, Region, snapshot
from jatevo.web.figures import Knowledge
from nodes.lifecycle import Status
from nodes.models import Node
from tests.factories import NodeFactory
from tests.metrics.wrappers import NOON_SECONDS, latency, receipt
from tests.overview.conftest import NOON, DownStore


def ship(store: Store, *facts: Fact) -> None:
    write(store, uuid4(), list(enumerate(facts)))


def probes(region: str, p95_ms: float, count: int = 5) -> list[Fact]:
    return [
        latency(f"{region}-{number}", region=region, p95=p95_ms, ts=NOON_SECONDS - 60 * number - 1)
        for number in range(count)
    ]


def test_nodes_and_models_count_active_nodes_alone(fleet: list[Node], chdb_store: Store) -> None:
    network = snapshot(at=NOON)
    assert network.census.nodes == 8
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
    # 23 full hours up to noon, then the past 60 minutes, which at noon sharp are the last of them once more
    assert network.requests_by_hour == [*[0] * 20, 1, 0, 1, 1]
    assert network.regions(fold_small=False) == [
        Region("ap-southeast", 300.0, 5),
        Region("us-west", 120.0, 2),
    ]
    assert network.p95_ms.value == 300.0


def test_too_few_probes_are_unknown_but_no_requests_are_a_zero(fleet: list[Node], chdb_store: Store) -> None:
    ship(chdb_store, *probes("ap-southeast", 300.0, count=4))
    network = snapshot(at=NOON)
    assert network.p95_ms.value is None
    assert network.p95_ms.state is Knowledge.UNKNOWN
    assert "probes" in network.p95_ms.reason
    assert (network.requests_24h.value, network.requests_24h.state) == (0, Knowledge.KNOWN)


def test_without_clickhouse_from_the_start_its_figures_are_unknown(
    fleet: list[Node], metrics_down: Callable[[], None]
) -> None:
    metrics_down()
    network = snapshot(at=NOON)
    assert network.active_nodes.value == 7
    assert [network.p95_ms.state, network.requests_24h.state] == [Knowledge.UNKNOWN, Knowledge.UNKNOWN]
    assert network.requests_24h.value is None
    assert network.requests_by_hour == []


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
    assert snapshot(at=NOON + FRESH_FOR - timedelta(seconds=1)).active_nodes.value == 7
    assert snapshot(at=NOON + FRESH_FOR).active_nodes.value == 8


def test_small_regions_are_folded_for_the_public(fleet: list[Node], chdb_store: Store) -> None:
    ship(chdb_store, *probes("ap-southeast", 300.0), *probes("us-west", 120.0))
    network = snapshot(at=NOON)
    assert network.regions(fold_small=True) == [
        Region("ap-southeast", 300.0, 5),
        Region(OTHER_REGIONS, None, 2),
    ]


def test_a_network_of_small_regions_alone_shows_its_p95(fleet: list[Node], chdb_store: Store) -> None:
    Node.objects.filter(pk=fleet[0].pk).delete()
    ship(chdb_store, *probes("ap-southeast", 300.0), *probes("us-west", 120.0))
    assert snapshot(at=NOON).regions(fold_small=True) == [Region(OTHER_REGIONS, 300.0, 6)]


def test_the_regions_nodes_add_up_to_the_active_ones(fleet: list[Node], chdb_store: Store) -> None:
    network = snapshot(at=NOON)
    for fold_small in (True, False):
        assert (
            sum(region.nodes for region in network.regions(fold_small=fold_small))
            == network.active_nodes.value
        )
