"""The definitions of latency, on both engines, with probes that were delivered twice."""

from datetime import timedelta

import pytest

from jatevo.metrics.facts import Fact
from jatevo.metrics.queries import (
    HourLatency,
    LatencyPoint,
    NetworkLatency,
    RegionLatency,
    latency_by_hour,
    latency_by_node_hour,
    latency_series,
    latest_latency,
    p95_of_network,
)
from jatevo.metrics.store import Store
from tests.metrics.wrappers import HOUR, MINUTE, NOON, NOON_SECONDS, deliver, latency, receipt

QUARTER = (NOON - 15 * MINUTE, NOON)


def probes(*p95s: float | None, **changes: object) -> list[Fact]:
    """Probes a second apart in the quarter of an hour before noon."""
    prefix = changes.get("node_id", "n")
    return [
        latency(
            f"{prefix}-{number}", **{"ts": NOON_SECONDS - 60 + number, "p95": p95, "tps": None, **changes}
        )
        for number, p95 in enumerate(p95s)
    ]


def served(node_id: str, requests: int, **changes: object) -> list[Fact]:
    """Receipts of a node, a second apart, just before noon."""
    return [
        receipt(f"{node_id}-{number}", **{"node_id": node_id, "ts_end": NOON_SECONDS - 1 - number, **changes})
        for number in range(requests)
    ]


def test_p95_is_unknown_under_five_probes(store: Store) -> None:
    deliver(store, *probes(100, 200, 300, 400))
    assert p95_of_network(store, *QUARTER).p95_ms is None
    # A probe that took no p95 is no sample of it.
    deliver(store, *probes(None, node_id="other"))
    assert p95_of_network(store, *QUARTER).p95_ms is None
    assert p95_of_network(store, *QUARTER).regions == [RegionLatency("ap-southeast", None)]


def test_five_probes_are_enough(store: Store) -> None:
    deliver(store, *probes(100, 100, 100, 100, 100))
    assert p95_of_network(store, *QUARTER).p95_ms == 100.0


def test_p95_is_unknown_when_there_is_nothing(store: Store) -> None:
    assert p95_of_network(store, *QUARTER).p95_ms is None
    assert p95_of_network(store, *QUARTER).regions == []


def test_p95_is_the_95th_percentile_of_the_window(store: Store) -> None:
    deliver(store, *probes(*[float(value) for value in range(1, 60)]))
    # t-digest: servers before 21.x put the percentile half a step lower
    assert p95_of_network(store, *QUARTER).p95_ms == pytest.approx(56.5, abs=0.55)
    assert p95_of_network(store, NOON, NOON + HOUR).p95_ms is None


def test_p95_counts_a_probe_delivered_twice_once(store: Store) -> None:
    # Ten times the last probe's weight would move the percentile to it.
    facts = probes(*[10.0] * 39, 1000.0)
    deliver(store, *facts, times=1)
    deliver(store, facts[-1], times=10)
    assert p95_of_network(store, *QUARTER).p95_ms == 10.0


def test_p95_weighs_a_nodes_probes_by_the_requests_it_served_in_the_window(store: Store) -> None:
    deliver(store, *probes(*[10.0] * 59), *served("macbook-001", 100), *probes(900.0, node_id="busy"))
    deliver(
        store, *served("busy", 100, ts_end=NOON_SECONDS - 3600), *served("busy", 100, ts_end=NOON_SECONDS)
    )
    assert p95_of_network(store, *QUARTER).p95_ms == 10.0  # none of these is in the window
    deliver(store, *served("busy", 50))
    assert p95_of_network(store, *QUARTER).p95_ms == 900.0
    assert p95_of_network(store, *QUARTER).regions == [RegionLatency("ap-southeast", 900.0)]


def test_a_node_that_is_probed_often_weighs_no_more_for_it(store: Store) -> None:
    deliver(store, *probes(*[100.0] * 30), *served("macbook-001", 100))
    deliver(store, *probes(*[1000.0] * 59, node_id="idle"), *served("idle", 2))
    assert p95_of_network(store, *QUARTER).p95_ms == 100.0
    assert {line.p95_ms for line in latency_by_hour(store, NOON - HOUR, NOON)} == {100.0}


def test_a_receipt_delivered_twice_weighs_once(store: Store) -> None:
    deliver(store, *probes(*[10.0] * 59), *served("macbook-001", 100), *probes(900.0, node_id="busy"))
    for _ in range(10):
        deliver(store, *served("busy", 1))
    assert p95_of_network(store, *QUARTER).p95_ms == 10.0


def test_p95_by_region_keeps_regions_apart_and_in_order(store: Store) -> None:
    deliver(
        store,
        *probes(*[10.0] * 5, node_id="a", region="us-east"),
        *probes(*[30.0] * 5, node_id="b", region="eu-west"),
        *probes(*[30.0] * 2, node_id="c", region="eu-west"),
    )
    assert p95_of_network(store, *QUARTER).regions == [
        RegionLatency("eu-west", 30.0),
        RegionLatency("us-east", 10.0),
    ]


def test_folded_regions_have_a_combined_figure_and_their_own(store: Store) -> None:
    deliver(
        store,
        *probes(*[10.0] * 5, node_id="a", region="us-east"),
        *probes(*[30.0] * 3, node_id="b", region="eu-west"),
        *probes(*[30.0] * 3, node_id="c", region="eu-north"),
    )
    found = p95_of_network(store, *QUARTER, fold={"eu-west", "eu-north"})
    assert found.regions == [
        RegionLatency("eu-north", None),
        RegionLatency("eu-west", None),
        RegionLatency("us-east", 10.0),
    ]
    assert (found.p95_ms, found.folded_p95_ms) == (30.0, 30.0)
    with_quote = p95_of_network(store, *QUARTER, fold=["it's", "us-east"])
    assert with_quote == NetworkLatency(30.0, found.regions, 10.0)
    assert p95_of_network(store, *QUARTER, fold=["elsewhere"]).folded_p95_ms is None
    assert p95_of_network(store, *QUARTER).folded_p95_ms is None


def test_each_hour_has_the_figure_of_its_regions_and_of_the_network(store: Store) -> None:
    hour_before = NOON - HOUR
    deliver(
        store,
        *probes(*[10.0] * 5, node_id="a", region="us-east"),
        *probes(*[30.0] * 3, node_id="b", region="eu-west"),
        *probes(*[30.0] * 7, node_id="c", region="eu-west", ts=NOON_SECONDS + 3599),
    )
    # any moment of an hour asks for all of it
    assert latency_by_hour(store, NOON - 30 * MINUTE, NOON + MINUTE) == [
        HourLatency(hour_before, "", 30.0, 8),
        HourLatency(hour_before, "eu-west", None, 3),
        HourLatency(hour_before, "us-east", 10.0, 5),
        HourLatency(NOON, "", 30.0, 7),
        HourLatency(NOON, "eu-west", 30.0, 7),
    ]
    assert latency_by_hour(store, NOON + HOUR, NOON + 30 * HOUR) == []


def test_an_hours_weights_are_the_requests_of_that_hour(store: Store) -> None:
    deliver(store, *probes(*[10.0] * 59), *served("macbook-001", 100), *probes(900.0, node_id="busy"))
    deliver(store, *served("busy", 200, ts_end=NOON_SECONDS + 1))
    before = latency_by_hour(store, NOON - HOUR, NOON)
    deliver(store, *served("busy", 201))
    after = latency_by_hour(store, NOON - HOUR, NOON)
    assert [line.probes for line in before + after] == [60, 60, 60, 60]
    assert [line.p95_ms for line in before] == [10.0, 10.0]
    assert [line.p95_ms for line in after] == [900.0, 900.0]


def test_many_hours_together_equal_single_hours(store: Store) -> None:
    facts = [
        latency(f"p_{number}", ts=NOON_SECONDS + number * 600, p95=100.0 + number) for number in range(60)
    ]
    deliver(store, *facts)
    together = latency_by_hour(store, NOON, NOON + 10 * HOUR)
    alone = [latency_by_hour(store, NOON + n * HOUR, NOON + (n + 1) * HOUR) for n in range(10)]
    assert together == [line for hour in alone for line in hour]
    assert [line.probes for line in together] == [6] * 20


def test_a_nodes_series_is_its_probes_in_order(store: Store) -> None:
    deliver(
        store,
        latency("p_2", ts=NOON_SECONDS + 60, p50=1, p95=2, p99=3, tps=4),
        latency("p_1"),
        latency("p_3", node_id="other"),
        latency("p_4", ts=NOON_SECONDS + 3600),
    )
    assert latency_series(store, "macbook-001", NOON, NOON + HOUR) == [
        LatencyPoint(NOON, 100.0, 200.5, None, 30.0),
        LatencyPoint(NOON + MINUTE, 1.0, 2.0, 3.0, 4.0),
    ]


def test_a_nodes_hour_is_the_median_and_the_worst_of_its_probes(store: Store) -> None:
    deliver(
        store,
        latency("p_1", p50=100.0, p95=200.1, p99=None, tps=30.0),
        latency("p_2", ts=NOON_SECONDS + 60, p50=110.0, p95=900.0, p99=None, tps=50.0),
        latency("p_3", ts=NOON_SECONDS + 3599, p50=500.0, p95=None, p99=None, tps=40.0),
        latency("p_4", ts=NOON_SECONDS + 3600, p50=None, p95=0.0, p99=7.0, tps=None),
        latency("p_5", node_id="other", p50=1.0),
    )
    # a node that moved has the hour in two regions, and one line here
    deliver(store, latency("p_6", ts=NOON_SECONDS + 120, region="eu-west", p50=100.0, p95=1.0, tps=40.0))
    window = (NOON + 59 * MINUTE, NOON + HOUR + timedelta(seconds=1))
    assert latency_by_node_hour(store, "macbook-001", *window) == [
        LatencyPoint(NOON, 110.0, 900.0, None, 40.0),
        LatencyPoint(NOON + HOUR, None, 0.0, 7.0, None),
    ]


def test_a_figure_too_large_for_the_rollup_is_its_largest(store: Store) -> None:
    deliver(store, latency(p50=0.04, p95=86_400_000.0, p99=1_677_721.4, tps=1e12))
    assert latency_by_node_hour(store, "macbook-001", NOON, NOON + HOUR) == [
        LatencyPoint(NOON, 0.0, 1_677_721.4, 1_677_721.4, 1_677_721.4)
    ]


def test_probes_that_measured_the_same_are_still_several(store: Store) -> None:
    same = [latency(f"p_{number}", p50=10.0) for number in range(3)]
    deliver(store, *same, latency("p_9", p50=1000.0), latency("p_8", p50=1000.0))
    assert latency_by_node_hour(store, "macbook-001", NOON, NOON + HOUR)[0].p50_ms == 10.0


def test_latest_latency_is_one_probe_per_node_and_not_a_mixture(store: Store) -> None:
    deliver(
        store,
        latency("p_1", p50=1, p95=2, p99=3),
        latency("p_2", ts=NOON_SECONDS + 60, p50=10, p95=20, p99=None, tps=None),
        latency("p_3", node_id="other"),
    )
    latest = {
        "macbook-001": LatencyPoint(NOON + MINUTE, 10.0, 20.0, None, None),
        "other": LatencyPoint(NOON, 100.0, 200.5, None, 30.0),
    }
    assert latest_latency(store, ["macbook-001", "other", "silent"], NOON, NOON + HOUR) == latest
    assert latest_latency(store, None, NOON, NOON + HOUR) == latest
    assert latest_latency(store, ["other"], NOON, NOON + HOUR).keys() == {"other"}
    assert latest_latency(store, None, NOON, NOON + MINUTE)["macbook-001"].p95_ms == 2.0


def test_no_nodes_is_no_question(store: Store) -> None:
    deliver(store, latency())
    assert latest_latency(store, [], NOON, NOON + HOUR) == {}
