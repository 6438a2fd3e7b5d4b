"""Each figure's one definition, on both engines, right also when rows were delivered twice."""

import uuid
from datetime import timedelta, timezone

import pytest

from jatevo.metrics.facts import Fact
from jatevo.metrics.queries import (
    HourCount,
    LatencyPoint,
    ReceiptTotals,
    RegionLatency,
    latency_series,
    latest_latency,
    p95_by_region,
    p95_global,
    receipt_presence,
    receipt_totals,
    requests_by_hour,
    requests_count,
    uptime_ratio,
)
from jatevo.metrics.store import Store
from jatevo.metrics.writer import write
from tests.metrics.wrappers import NOON, NOON_SECONDS, latency, receipt, uptime

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
QUARTER = (NOON - 15 * MINUTE, NOON)


def deliver(store: Store, *facts: Fact, times: int = 2) -> None:
    """Writes the facts as one batch, twice unless told otherwise: repeats are everyday."""
    batch = uuid.uuid4()
    for _ in range(times):
        write(store, batch, list(enumerate(facts)))


def probes(*p95s: float | None, **changes: object) -> list[Fact]:
    """Probes a second apart within the quarter before noon."""
    prefix = changes.get("node_id", "n")
    return [
        latency(f"{prefix}-{number}", ts=NOON_SECONDS - 60 + number, p95=p95, **{"tps": None, **changes})
        for number, p95 in enumerate(p95s)
    ]


def test_p95_is_unknown_under_five_probes(store: Store) -> None:
    deliver(store, *probes(100, 200, 300, 400))
    assert p95_global(store, *QUARTER) is None
    # A probe that took no p95 is no sample of it.
    deliver(store, *probes(None, node_id="other"))
    assert p95_global(store, *QUARTER) is None
    assert p95_by_region(store, *QUARTER) == [RegionLatency("ap-southeast", None, 1)]


def test_p95_is_unknown_when_there_is_nothing(store: Store) -> None:
    assert p95_global(store, *QUARTER) is None
    assert p95_by_region(store, *QUARTER) == []


def test_p95_is_the_95th_percentile_of_the_window(store: Store) -> None:
    deliver(store, *probes(*[float(value) for value in range(1, 101)][:59]))
    assert p95_global(store, *QUARTER) == 57.0
    assert p95_global(store, NOON, NOON + HOUR) is None


def test_p95_counts_a_probe_delivered_twice_once(store: Store) -> None:
    # Twice the last probe's weight would move the percentile to it.
    facts = probes(*[10.0] * 19, 1000.0)
    deliver(store, *facts, times=1)
    deliver(store, facts[-1], times=3)
    assert p95_global(store, *QUARTER) == 10.0


def test_p95_weighs_probes_by_their_token_rate(store: Store) -> None:
    deliver(store, *probes(*[10.0] * 9, tps=1.0), *probes(900.0, tps=200.0, node_id="fast"))
    assert p95_global(store, *QUARTER) == 900.0
    assert p95_by_region(store, *QUARTER) == [RegionLatency("ap-southeast", 900.0, 2)]


def test_one_absurd_token_rate_cannot_outweigh_by_more_than_the_cap(store: Store) -> None:
    deliver(store, *probes(*[10.0] * 30, tps=9999.0), *probes(900.0, tps=1e12, node_id="absurd"))
    assert p95_global(store, *QUARTER) == 10.0


def test_p95_by_region_keeps_regions_apart_and_in_order(store: Store) -> None:
    deliver(
        store,
        *probes(*[10.0] * 5, node_id="a", region="us-east"),
        *probes(*[30.0] * 5, node_id="b", region="eu-west"),
        *probes(*[30.0] * 2, node_id="c", region="eu-west"),
    )
    assert p95_by_region(store, *QUARTER) == [
        RegionLatency("eu-west", 30.0, 2),
        RegionLatency("us-east", 10.0, 1),
    ]


def test_requests_are_counted_once_by_the_minute_they_ended_in(store: Store) -> None:
    deliver(
        store,
        receipt("r_1"),
        receipt("r_2", ts_end=NOON_SECONDS + 59),
        receipt("r_3", ts_end=NOON_SECONDS + 60),
        receipt("r_4", ts_end=NOON_SECONDS - 1),
    )
    deliver(store, receipt("r_5"))
    assert requests_count(store, NOON, NOON + MINUTE) == 3
    assert requests_count(store, NOON - HOUR, NOON + HOUR) == 5
    assert requests_count(store, NOON + HOUR, NOON + 2 * HOUR) == 0


def test_hours_without_requests_are_zeros_in_their_place(store: Store) -> None:
    deliver(store, receipt("r_1"), receipt("r_2", ts_end=NOON_SECONDS - 7200), receipt("r_3"))
    assert requests_by_hour(store, NOON - 2 * HOUR, NOON + HOUR) == [
        HourCount(NOON - 2 * HOUR, 1),
        HourCount(NOON - HOUR, 0),
        HourCount(NOON, 2),
    ]


def test_a_window_in_another_zone_is_the_same_window(store: Store) -> None:
    deliver(store, receipt("r_1"))
    tokyo = timezone(timedelta(hours=9))
    window = NOON.astimezone(tokyo), (NOON + HOUR).astimezone(tokyo)
    assert requests_by_hour(store, *window) == [HourCount(NOON, 1)]
    assert requests_count(store, *window) == 1


def test_uptime_counts_from_the_nodes_first_minute(store: Store) -> None:
    ups = [uptime(NOON + number * MINUTE) for number in range(10) if number != 4]
    deliver(store, *ups, uptime(NOON + 4 * MINUTE, up=False, beats=0))
    ratios = uptime_ratio(store, ["macbook-001", "unknown"], NOON - 24 * HOUR, NOON + 10 * MINUTE)
    assert ratios == {"macbook-001": 0.9, "unknown": None}


def test_uptime_expects_the_whole_window_of_an_older_node(store: Store) -> None:
    deliver(store, uptime(NOON - 24 * HOUR), *[uptime(NOON + number * MINUTE) for number in range(15)])
    assert uptime_ratio(store, ["macbook-001"], NOON, NOON + HOUR) == {"macbook-001": 0.25}


def test_uptime_leaves_out_minutes_that_are_not_over(store: Store) -> None:
    deliver(store, uptime(NOON), uptime(NOON + MINUTE))
    half_past = NOON + MINUTE + timedelta(seconds=30)
    assert uptime_ratio(store, ["macbook-001"], NOON, half_past) == {"macbook-001": 1.0}
    assert uptime_ratio(store, ["macbook-001"], NOON, NOON + timedelta(seconds=30)) == {"macbook-001": None}


def test_uptime_starts_at_the_windows_first_whole_minute(store: Store) -> None:
    deliver(store, uptime(NOON - MINUTE), uptime(NOON), uptime(NOON + 2 * MINUTE))
    since = NOON + timedelta(seconds=1)
    assert uptime_ratio(store, ["macbook-001"], since, NOON + 3 * MINUTE) == {"macbook-001": 0.5}


def test_a_minute_seen_down_and_then_up_is_up(store: Store) -> None:
    deliver(store, uptime(NOON, up=False, beats=0))
    deliver(store, uptime(NOON, beats=2))
    assert uptime_ratio(store, ["macbook-001"], NOON, NOON + MINUTE) == {"macbook-001": 1.0}


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


def test_latest_latency_is_one_probe_per_node_and_not_a_mixture(store: Store) -> None:
    deliver(
        store,
        latency("p_1", p50=1, p95=2, p99=3),
        latency("p_2", ts=NOON_SECONDS + 60, p50=10, p95=20, p99=None, tps=None),
        latency("p_3", node_id="other"),
    )
    assert latest_latency(store, ["macbook-001", "other", "silent"], NOON, NOON + HOUR) == {
        "macbook-001": LatencyPoint(NOON + MINUTE, 10.0, 20.0, None, None),
        "other": LatencyPoint(NOON, 100.0, 200.5, None, 30.0),
    }


def test_no_nodes_is_no_question(store: Store) -> None:
    assert uptime_ratio(store, [], *QUARTER) == {}
    assert latest_latency(store, [], *QUARTER) == {}
    assert receipt_totals(store, *QUARTER, node_ids=[]).count == 0


def test_presence_is_of_this_node_and_this_request(store: Store) -> None:
    deliver(store, receipt("r_1"))
    assert receipt_presence(store, "macbook-001", "r_1")
    assert not receipt_presence(store, "macbook-001", "r_2")
    assert not receipt_presence(store, "other", "r_1")


def test_totals_add_up_and_filters_narrow_them(store: Store) -> None:
    deliver(
        store,
        receipt("r_1"),
        receipt("r_2", cache_hit=False, failed=True, region="eu-west", model_id="other", p95_ms=None),
        receipt("r_3", node_id="other", hedged=True, tokens_input=1, tokens_output=2, p95_ms=900),
    )
    window = (NOON, NOON + HOUR)
    assert receipt_totals(store, *window) == ReceiptTotals(3, 257, 186, 2, 1, 900.0)
    assert receipt_totals(store, *window, node_ids=["macbook-001"]) == ReceiptTotals(2, 256, 184, 1, 1, 310.0)
    assert receipt_totals(store, *window, region="eu-west") == ReceiptTotals(1, 128, 92, 0, 1, None)
    assert receipt_totals(store, *window, model_id="other", hedged=False).count == 1
    assert receipt_totals(store, *window, hedged=True) == ReceiptTotals(1, 1, 2, 1, 0, 900.0)
    assert receipt_totals(store, NOON + HOUR, NOON + 2 * HOUR) == ReceiptTotals(0, 0, 0, 0, 0, None)


def test_hit_rate_of_no_receipts_is_unknown() -> None:
    assert ReceiptTotals(0, 0, 0, 0, 0, None).cache_hit_rate is None
    assert ReceiptTotals(4, 0, 0, 1, 0, None).cache_hit_rate == 0.25


def test_a_window_without_a_zone_is_a_mistake(chdb_store: Store) -> None:
    with pytest.raises(ValueError, match="time zone"):
        requests_count(chdb_store, NOON.replace(tzinfo=None), NOON)
