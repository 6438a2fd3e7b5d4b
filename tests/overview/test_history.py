"""Past hours and the change from the day before, from the rows that the worker stores."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from jatevo.overview.history import (
    DAY_CHANGE_HOURS,
    DayChange,
    HourPoint,
    RegionHours,
    day_changes,
    network_hours,
    region_hours,
)
from jatevo.overview.kpis import OTHER_REGIONS, UNREACHABLE, Census, RecentTraffic, Snapshot
from jatevo.overview.models import RegionHour
from tests.overview.conftest import NOON

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
HALF_PAST = NOON + HOUR / 2


def row(hour: datetime, region: str = "", **figures: Any) -> None:
    RegionHour.objects.create(hour=hour, region=region, **figures)


def by_name(lines: list[RegionHours]) -> dict[str, HourPoint]:
    """Each region's current hour."""
    return {line.name: line.hours[-1] for line in lines}


def now(*, p95_ms: float | None = 300.0, requests: int | None = 240) -> Snapshot:
    """A network of six active nodes and two models."""
    traffic = None
    if requests is not None:
        traffic = RecentTraffic(HALF_PAST, p95_ms, {}, frozenset(), None, requests)
    return Snapshot(
        Census(HALF_PAST, 9, {"eu": 6}, 2), traffic, seen_at=HALF_PAST, trouble="" if traffic else UNREACHABLE
    )


# --- the network's hours


def test_every_hour_is_there_and_unknown_ones_are_none_not_zero(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    row(
        NOON,
        active_nodes=7,
        models_cached=3,
        p95_ms=300.5,
        requests=5,
        tokens_input=6,
        tokens_output=7,
        errors=0,
    )
    row(NOON - 2 * HOUR, requests=0)
    row(NOON - 3 * HOUR, requests=99)
    row(NOON, "us-west", requests=4)
    with django_assert_num_queries(1):
        hours = network_hours(at=HALF_PAST, hours=3)
    assert hours == [
        HourPoint(NOON - 2 * HOUR, None, None, None, 0, None, None, None),
        HourPoint(NOON - HOUR, None, None, None, None, None, None, None),
        HourPoint(NOON, 7, 3, 300.5, 5, 6, 7, 0, running=True),
    ]


def test_two_days_of_an_empty_network_are_unknown() -> None:
    hours = network_hours(at=HALF_PAST)
    assert [point.hour for point in hours] == [NOON - back * HOUR for back in range(47, -1, -1)]
    assert all(point.requests is None for point in hours)


# --- regions


def test_operators_see_every_region_that_did_something(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    row(NOON, active_nodes=9)
    row(NOON - HOUR, "eu", active_nodes=6, p95_ms=100.0, requests=10)
    row(NOON, "eu", active_nodes=7, p95_ms=110.0, requests=11)
    row(NOON, "us", active_nodes=2, p95_ms=90.0, requests=3)
    row(NOON, "sa", active_nodes=0, requests=0)
    row(NOON - 30 * HOUR, "old", active_nodes=9)
    with django_assert_num_queries(1):
        lines = region_hours(at=HALF_PAST, hours=2, fold_small=False)
    assert [line.name for line in lines] == ["eu", "us"]
    assert [(point.hour, point.p95_ms, point.requests) for point in lines[0].hours] == [
        (NOON - HOUR, 100.0, 10),
        (NOON, 110.0, 11),
    ]
    assert [point.p95_ms for point in lines[1].hours] == [None, 90.0]
    assert lines[0].hours[-1].running


def test_strangers_see_small_regions_added_up_and_without_p95() -> None:
    row(NOON, active_nodes=10, p95_ms=99.0)
    row(NOON, "eu", active_nodes=6, p95_ms=110.0, requests=11)
    row(NOON, "sa", active_nodes=1, p95_ms=70.0, requests=1, tokens_input=5, errors=1)
    row(NOON, "us", active_nodes=4, p95_ms=90.0, requests=4, tokens_input=7)
    regions = by_name(region_hours(at=HALF_PAST, fold_small=True))
    assert list(regions) == ["eu", OTHER_REGIONS]
    assert regions["eu"].p95_ms == 110.0
    assert regions[OTHER_REGIONS] == HourPoint(NOON, 5, None, None, 5, 12, None, 1, running=True)


def test_too_few_nodes_are_revealed_neither_by_counts_nor_by_subtraction() -> None:
    row(NOON, active_nodes=19, requests=143)
    row(NOON, "ap", active_nodes=9, p95_ms=60.0, requests=100)
    row(NOON, "eu", active_nodes=6, p95_ms=110.0, requests=40, tokens_input=7, errors=2)
    row(NOON, "us", active_nodes=4, p95_ms=90.0, requests=3, tokens_input=5, errors=0)
    regions = by_name(region_hours(at=HALF_PAST, fold_small=True))
    assert regions["ap"].requests == 100
    assert (regions["eu"].p95_ms, regions["eu"].requests, regions["eu"].errors) == (110.0, None, None)
    other = regions[OTHER_REGIONS]
    assert (other.p95_ms, other.requests, other.tokens_input, other.errors) == (None, 43, 12, 2)


def test_hours_in_which_a_region_was_small_go_to_the_others() -> None:
    row(NOON - HOUR, "eu", active_nodes=2, p95_ms=100.0, requests=10)
    row(NOON, "eu", active_nodes=6, p95_ms=110.0, requests=11)
    row(NOON - HOUR, "us", active_nodes=8, p95_ms=80.0, requests=20)
    row(NOON, "us", active_nodes=4, p95_ms=90.0, requests=3)
    row(NOON, "sa", active_nodes=1, p95_ms=90.0, requests=2)
    eu, other = region_hours(at=HALF_PAST, hours=2, fold_small=True)
    assert [point.p95_ms for point in eu.hours] == [None, 110.0]
    assert [point.requests for point in eu.hours] == [None, 11]
    assert [point.requests for point in other.hours] == [30, 5]
    assert [point.p95_ms for point in other.hours] == [None, None]


def test_a_small_hour_of_the_only_region_is_not_lost() -> None:
    row(NOON - 2 * HOUR, "eu", active_nodes=0, requests=0)
    row(NOON - HOUR, "eu", active_nodes=2, p95_ms=100.0, requests=10)
    row(NOON, "eu", active_nodes=6, p95_ms=110.0, requests=11)
    eu, other = region_hours(at=HALF_PAST, hours=3, fold_small=True)
    assert [point.requests for point in eu.hours] == [None, None, 11]
    assert [(point.requests, point.p95_ms) for point in other.hours] == [(0, None), (10, None), (None, None)]


def test_a_single_idle_hour_makes_no_other_region() -> None:
    row(NOON - HOUR, "eu", active_nodes=0, requests=0)
    row(NOON, "eu", active_nodes=6, requests=11)
    assert list(by_name(region_hours(at=HALF_PAST, fold_small=True))) == ["eu"]


def test_an_hour_of_one_region_that_was_large_then_keeps_its_p95() -> None:
    row(NOON, "eu", active_nodes=6)
    row(NOON - HOUR, "us", active_nodes=8, p95_ms=80.0)
    row(NOON, "us", active_nodes=4, p95_ms=90.0)
    _, other = region_hours(at=HALF_PAST, hours=2, fold_small=True)
    assert [point.p95_ms for point in other.hours] == [80.0, None]


def test_a_network_of_only_small_regions_is_shown_as_a_whole() -> None:
    row(NOON, active_nodes=5, p95_ms=99.0, requests=8)
    row(NOON, "eu", active_nodes=3, p95_ms=110.0, requests=5)
    row(NOON, "us", active_nodes=2, p95_ms=90.0, requests=3)
    regions = by_name(region_hours(at=HALF_PAST, fold_small=True))
    assert list(regions) == [OTHER_REGIONS]
    assert (regions[OTHER_REGIONS].p95_ms, regions[OTHER_REGIONS].requests) == (99.0, 8)


def test_a_region_whose_nodes_were_never_counted_is_small() -> None:
    row(NOON, "eu", active_nodes=6)
    row(NOON, "us", p95_ms=90.0, requests=3)
    assert list(by_name(region_hours(at=HALF_PAST, fold_small=True))) == ["eu", OTHER_REGIONS]


def test_what_strangers_see_adds_up_to_what_operators_see() -> None:
    for back in range(24):
        row(NOON - back * HOUR, "eu", active_nodes=4 + back % 3, requests=back)
        row(NOON - back * HOUR, "us", active_nodes=back % 7, requests=100 * back)
        row(NOON - back * HOUR, "sa", active_nodes=9, requests=10_000 * back)
    for hour in range(24):
        folded, plain = (
            sum(line.hours[hour].requests or 0 for line in region_hours(at=HALF_PAST, fold_small=fold_small))
            for fold_small in (True, False)
        )
        assert folded == plain


def test_nothing_at_all_is_no_region() -> None:
    assert region_hours(at=HALF_PAST, fold_small=True) == []
    assert region_hours(at=HALF_PAST, fold_small=False) == []


# --- the day before


def test_figures_compare_with_the_day_before(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    day_ago = NOON - 24 * HOUR
    for back in range(24, 49):
        row(
            NOON - back * HOUR,
            active_nodes=5 if NOON - back * HOUR == day_ago else 1,
            models_cached=4,
            p95_ms=250.0 if NOON - back * HOUR == day_ago else 1.0,
            requests=10,
        )
    with django_assert_num_queries(1):
        past = network_hours(at=HALF_PAST, hours=DAY_CHANGE_HOURS)
    with django_assert_num_queries(0):
        changes = day_changes(now(), past, at=HALF_PAST)
    assert changes.active_nodes == DayChange(6, 5)
    assert changes.models_cached == DayChange(2, 4)
    assert changes.models_cached.ratio == -0.5
    assert changes.p95_ms == DayChange(300.0, 250.0)
    assert changes.p95_ms.ratio == pytest.approx(0.2)
    assert changes.requests_24h == DayChange(240, 240)
    assert changes.requests_24h.difference == 0


def test_the_first_and_last_hour_of_yesterdays_requests_count_pro_rata() -> None:
    for back in range(24, 49):
        row(NOON - back * HOUR, requests=1000 if back == 48 else 100 if back == 24 else 0)
    quarter_past = NOON + HOUR / 4
    changes = day_changes(now(), network_hours(at=quarter_past, hours=DAY_CHANGE_HOURS), at=quarter_past)
    assert changes.requests_24h.before == 1000 * 3 // 4 + 100 // 4


def test_at_the_full_hour_yesterday_is_24_whole_hours() -> None:
    for back in range(24, 50):
        row(NOON - back * HOUR, requests={24: 100_000, 49: 1000}.get(back, 1))
    changes = day_changes(now(), network_hours(at=NOON, hours=DAY_CHANGE_HOURS), at=NOON)
    assert changes.requests_24h.before == 24


def test_the_sample_nearest_to_a_day_ago_counts() -> None:
    """Each hour keeps its last sample, taken at its end."""
    row(NOON - 25 * HOUR, active_nodes=3)
    row(NOON - 24 * HOUR, active_nodes=5)
    for minutes, before in ((5, 3), (29, 3), (31, 5), (55, 5)):
        at = NOON + timedelta(minutes=minutes)
        assert (
            day_changes(now(), network_hours(at=at, hours=DAY_CHANGE_HOURS), at=at).active_nodes.before
            == before
        )


def test_without_yesterday_no_change_is_shown() -> None:
    row(NOON - 24 * HOUR, requests=10)  # one hour of the twenty-five
    changes = day_changes(now(), network_hours(at=HALF_PAST, hours=DAY_CHANGE_HOURS), at=HALF_PAST)
    for change in (changes.active_nodes, changes.models_cached, changes.p95_ms, changes.requests_24h):
        assert (change.before, change.difference, change.ratio) == (None, None, None)


def test_without_today_no_change_is_shown() -> None:
    row(NOON - 24 * HOUR, p95_ms=250.0)
    changes = day_changes(
        now(requests=None), network_hours(at=HALF_PAST, hours=DAY_CHANGE_HOURS), at=HALF_PAST
    )
    assert changes.p95_ms == DayChange(None, 250.0)
    assert changes.p95_ms.ratio is None


def test_a_stale_figure_is_not_compared() -> None:
    for back in range(24, 49):
        row(NOON - back * HOUR, active_nodes=5, p95_ms=250.0, requests=10)
    old = replace(now(), seen_at=HALF_PAST + HOUR, trouble=UNREACHABLE)
    changes = day_changes(old, network_hours(at=HALF_PAST, hours=DAY_CHANGE_HOURS), at=HALF_PAST)
    assert (changes.p95_ms.difference, changes.requests_24h.difference) == (None, None)
    assert changes.active_nodes.difference == 1


def test_from_nothing_there_is_a_difference_but_no_ratio() -> None:
    change = DayChange(5, 0)
    assert (change.difference, change.ratio) == (5, None)
