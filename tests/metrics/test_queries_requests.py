"""The definitions of traffic, on both engines, with batches that were delivered twice."""

from datetime import timedelta, timezone

import pytest

from jatevo.metrics.queries import (
    HourCount,
    HourTraffic,
    ReceiptTotals,
    receipt_presence,
    receipt_totals,
    requests_by_hour,
    requests_count,
    traffic_by_hour,
)
from jatevo.metrics.store import Store
from tests.metrics.wrappers import HOUR, MINUTE, NOON, NOON_SECONDS, deliver, receipt

SECOND = timedelta(seconds=1)


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


# Whole hours and edges in every combination: the window's ends in seconds from noon.
WINDOWS = [
    (0, 3600),
    (0, 7200),
    (-60, 3600),
    (0, 3660),
    (-1800, 5400),
    (-1801, 5399),
    (600, 1200),
    (3000, 4200),
    (3599, 3601),
    (3600, 3600),
    (-86_400, 86_400),
    (1, 7199),
    (-60, 60),
]


@pytest.mark.parametrize(("since", "until"), WINDOWS)
def test_any_windows_count_is_that_of_its_minutes(store: Store, since: int, until: int) -> None:
    minutes = range(-120, 240, 7)
    deliver(store, *[receipt(f"r_{minute}", ts_end=NOON_SECONDS + minute * 60 + 30) for minute in minutes])
    expected = sum(since <= minute * 60 < until for minute in minutes)
    window = NOON + since * SECOND, NOON + until * SECOND
    assert requests_count(store, *window) == expected
    assert sum(hour.count for hour in requests_by_hour(store, *window)) == expected


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
    assert [line.hour for line in traffic_by_hour(store, *window)] == [NOON]


def test_traffic_is_of_each_hour_and_region_and_says_what_failed(store: Store) -> None:
    deliver(
        store,
        receipt("r_1"),
        receipt("r_2", failed=True, cache_hit=False),
        receipt("r_3", region="eu-west", tokens_input=1, tokens_output=2),
        receipt("r_4", ts_end=NOON_SECONDS + 3600),
    )
    deliver(store, receipt("r_5", ts_end=NOON_SECONDS + 59 * 60, failed=True))
    assert traffic_by_hour(store, NOON + MINUTE, NOON + HOUR) == [
        HourTraffic(NOON, "ap-southeast", 3, 3 * 128, 3 * 92, 2, 2),
        HourTraffic(NOON, "eu-west", 1, 1, 2, 1, 0),
    ]
    assert traffic_by_hour(store, NOON, NOON + 2 * HOUR)[2:] == [
        HourTraffic(NOON + HOUR, "ap-southeast", 1, 128, 92, 1, 0)
    ]
    assert traffic_by_hour(store, NOON - 2 * HOUR, NOON) == []


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
    assert receipt_totals(store, *window, node_ids=[]).count == 0


def test_models_are_compared_in_their_normal_form(store: Store) -> None:
    names = ["qwen3", "QWEN3", "Qwen3:latest", "qwen3:8b", ":latest", "a:latest:latest", "MODÈLE"]
    deliver(store, *[receipt(f"r_{number}", model_id=name) for number, name in enumerate(names)])
    counted = {
        name: receipt_totals(store, NOON, NOON + HOUR, model_id=name).count
        for name in [*names, "qwen3:LATEST", "a:latest", "modÈle", "modèle"]
    }
    assert counted == {
        "qwen3": 3, "QWEN3": 3, "Qwen3:latest": 3, "qwen3:LATEST": 3, "qwen3:8b": 1, ":latest": 1,
        "a:latest:latest": 1, "a:latest": 0, "MODÈLE": 1, "modÈle": 1, "modèle": 0,
    }  # fmt: skip


def test_hit_rate_of_no_receipts_is_unknown() -> None:
    assert ReceiptTotals(0, 0, 0, 0, 0, None).cache_hit_rate is None
    assert ReceiptTotals(4, 0, 0, 1, 0, None).cache_hit_rate == 0.25


def test_a_window_without_a_zone_is_a_mistake(chdb_store: Store) -> None:
    with pytest.raises(ValueError, match="time zone"):
        requests_count(chdb_store, NOON.replace(tzinfo=None), NOON)
