"""The regions of a snapshot: which are shown separately, which are combined, and why a p95 is missing."""

from jatevo.metrics.store import Store
from jatevo.overview.kpis import (
    OTHER_REGIONS,
    UNREACHABLE,
    Census,
    RecentTraffic,
    Region,
    Snapshot,
    snapshot,
)
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.overview.conftest import NOON
from tests.overview.measured import probes, ship


def network_of(active: dict[str, int], p95: dict[str, float], other: float | None = None) -> Snapshot:
    """A snapshot in which every region has its p95, and the small ones together have `other`."""
    census = Census(NOON, sum(active.values()), active, 1)
    traffic = RecentTraffic(NOON, 99.0, dict(p95), census.small_regions, other, 0)
    return Snapshot(census, traffic, seen_at=NOON)


def test_small_regions_are_folded_for_the_public(fleet: list[Node], chdb_store: Store) -> None:
    NodeFactory.create_batch(3, org=fleet[0].org, region="eu-north", status=Status.ACTIVE)
    ship(
        chdb_store,
        *probes("ap-southeast", 300.0),
        *probes("us-west", 120.0, count=2),
        *probes("eu-north", 180.0, count=3),
    )
    network = snapshot(at=NOON)
    assert network.regions(fold_small=True) == [
        Region("ap-southeast", 300.0, 5),
        Region(
            OTHER_REGIONS, 180.0, 5
        ),  # of five probes together, though neither region has enough of its own
    ]
    assert network.regions(fold_small=False) == [
        Region("ap-southeast", 300.0, 5),
        Region("eu-north", None, 3),
        Region("us-west", None, 2),
    ]


def test_the_others_together_may_still_be_too_few() -> None:
    network = network_of({"a": 5, "b": 2, "c": 2}, {"a": 1.0, "b": 2.0, "c": 3.0}, other=2.5)
    assert network.regions(fold_small=True) == [Region("a", 1.0, 5), Region(OTHER_REGIONS, None, 4)]
    network = network_of({"a": 5, "b": 2, "c": 3}, {"a": 1.0, "b": 2.0, "c": 3.0}, other=2.5)
    assert network.regions(fold_small=True) == [Region("a", 1.0, 5), Region(OTHER_REGIONS, 2.5, 5)]


def test_a_region_without_a_p95_says_why() -> None:
    def said(network: Snapshot) -> dict[str, str]:
        return {region.name: network.why_unknown(region) for region in network.regions(fold_small=True)}

    asked = network_of({"a": 5, "b": 6, "c": 3}, {"a": 1.0}, other=2.5)
    assert said(asked) == {"a": "", "b": "too few samples", OTHER_REGIONS: "too few nodes"}
    assert set(said(Snapshot(asked.census, None, seen_at=NOON, trouble=UNREACHABLE)).values()) == {
        "unknown",
        "too few nodes",
    }
    grown = Census(NOON, 17, {"a": 5, "b": 6, "c": 3, "d": 3}, 1)
    assert said(Snapshot(grown, asked.traffic, seen_at=NOON))[OTHER_REGIONS] == "not known yet"


def test_a_network_of_only_small_regions_shows_its_p95() -> None:
    network = network_of({"a": 1, "b": 2}, {}, other=2.5)
    assert network.regions(fold_small=True) == [Region(OTHER_REGIONS, 2.5, 3)]


def test_the_p95_of_others_is_not_shown_for_regions_that_it_was_not_asked_for() -> None:
    asked = network_of({"a": 5, "b": 3, "c": 3}, {}, other=2.5)
    grown = Census(NOON, 13, {"a": 5, "b": 3, "c": 5, "d": 3}, 1)
    network = Snapshot(grown, asked.traffic, seen_at=NOON, trouble=UNREACHABLE)
    assert network.regions(fold_small=True)[-1] == Region(OTHER_REGIONS, None, 6)


def test_a_region_without_active_nodes_is_not_shown() -> None:
    network = network_of({"a": 5, "b": 0}, {"a": 1.0, "b": 2.0})
    for fold_small in (True, False):
        assert network.regions(fold_small=fold_small) == [Region("a", 1.0, 5)]


def test_a_region_that_is_called_other_is_one_of_them() -> None:
    network = network_of({"a": 5, OTHER_REGIONS: 9, "b": 1}, {"a": 1.0}, other=2.5)
    assert network.regions(fold_small=True) == [Region("a", 1.0, 5), Region(OTHER_REGIONS, 2.5, 10)]


def test_the_regions_nodes_add_up_to_the_active_ones(fleet: list[Node], chdb_store: Store) -> None:
    network = snapshot(at=NOON)
    for fold_small in (True, False):
        assert (
            sum(region.nodes for region in network.regions(fold_small=fold_small))
            == network.active_nodes.value
        )
