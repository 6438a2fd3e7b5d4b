"""The definition of uptime, on both engines, with minutes that were delivered twice."""

from datetime import datetime, timedelta

import pytest

from jatevo.metrics.facts import Fact
from jatevo.metrics.minutes import ALL_MINUTES
from jatevo.metrics.queries import (
    first_minute_up,
    minutes_up_by_node,
    minutes_up_in_hour,
    minutes_up_of_node,
    uptime_ratio,
)
from jatevo.metrics.store import Store
from tests.metrics.wrappers import HOUR, MINUTE, NOON, deliver, uptime

NODE = "macbook-001"
SECOND = timedelta(seconds=1)


def minutes(since: datetime, count: int, **changes: object) -> list[Fact]:
    return [uptime(since + number * MINUTE, **changes) for number in range(count)]


def test_uptime_counts_from_the_nodes_first_minute_up(store: Store) -> None:
    ups = [uptime(NOON + number * MINUTE) for number in range(10) if number != 4]
    deliver(store, *ups, uptime(NOON + 4 * MINUTE, up=False, beats=0))
    ratios = uptime_ratio(store, [NODE, "unknown"], NOON - 24 * HOUR, NOON + 10 * MINUTE)
    assert ratios == {NODE: 0.9, "unknown": None}


def test_uptime_of_all_is_that_of_each_node_on_record(store: Store) -> None:
    deliver(store, *minutes(NOON, 10), *minutes(NOON, 5, node_id="half"))
    deliver(store, uptime(NOON - 24 * HOUR, node_id="gone"))
    window = (NOON, NOON + 10 * MINUTE)
    assert uptime_ratio(store, None, *window) == {NODE: 1.0, "half": 0.5, "gone": 0.0}
    assert uptime_ratio(store, ["half"], *window) == {"half": 0.5}


def test_a_first_minute_seen_down_is_where_the_node_begins(store: Store) -> None:
    deliver(store, uptime(NOON, up=False, beats=0), uptime(NOON + MINUTE))
    assert uptime_ratio(store, [NODE], NOON - HOUR, NOON + 2 * MINUTE) == {NODE: 0.5}
    deliver(store, uptime(NOON - 3 * HOUR, node_id="other"))
    assert first_minute_up(store, NODE) == NOON
    assert first_minute_up(store, "unknown") is None


def test_uptime_expects_the_whole_window_of_an_older_node(store: Store) -> None:
    deliver(store, uptime(NOON - 24 * HOUR), *minutes(NOON, 15))
    assert uptime_ratio(store, [NODE], NOON, NOON + HOUR) == {NODE: 0.25}


def test_uptime_leaves_out_minutes_that_are_not_over(store: Store) -> None:
    deliver(store, uptime(NOON), uptime(NOON + MINUTE))
    assert uptime_ratio(store, [NODE], NOON, NOON + MINUTE + 30 * SECOND) == {NODE: 1.0}
    assert uptime_ratio(store, [NODE], NOON, NOON + 30 * SECOND) == {NODE: None}


def test_minutes_in_which_no_node_could_be_heard_are_not_expected_unless_the_node_was_heard(
    store: Store,
) -> None:
    deliver(store, *minutes(NOON, 10), uptime(NOON + 12 * MINUTE), *minutes(NOON + 15 * MINUTE, 5))
    deliver(
        store, uptime(NOON + 14 * MINUTE, node_id="younger"), uptime(NOON + 19 * MINUTE, node_id="younger")
    )
    gap = (NOON + 10 * MINUTE + 30 * SECOND, NOON + 15 * MINUTE)
    window = (NOON, NOON + 20 * MINUTE)
    twice = [gap, (NOON + 11 * MINUTE, NOON + 12 * MINUTE)]
    # the younger one was heard in the gap's last minute, so that this counts: two of six
    assert uptime_ratio(store, None, *window, unheard=twice) == {NODE: 1.0, "younger": 2 / 6}
    assert uptime_ratio(store, [NODE], *window) == {NODE: 0.8}
    assert uptime_ratio(store, [NODE], *window, unheard=[(NOON - HOUR, NOON + HOUR)]) == {NODE: 1.0}


def test_minutes_heard_during_an_outage_make_up_for_none_that_were_missed(store: Store) -> None:
    """Half of an outage was heard, and five of the other fifty minutes were missed."""
    heard = [*range(5, 50), *range(50, 55)]
    deliver(store, uptime(NOON - HOUR), *[uptime(NOON + number * MINUTE) for number in heard])
    outage = (NOON + 50 * MINUTE, NOON + 60 * MINUTE)
    ratios = uptime_ratio(store, [NODE], NOON, NOON + HOUR, unheard=[outage])
    assert ratios == {NODE: pytest.approx(50 / 55)}


def test_uptime_starts_at_the_windows_first_whole_minute(store: Store) -> None:
    deliver(store, uptime(NOON - MINUTE), uptime(NOON), uptime(NOON + 2 * MINUTE))
    assert uptime_ratio(store, [NODE], NOON + SECOND, NOON + 3 * MINUTE) == {NODE: 0.5}


def test_a_minute_seen_down_and_then_up_is_up_in_any_order(store: Store) -> None:
    deliver(store, uptime(NOON, up=False, beats=0), uptime(NOON + MINUTE, beats=2))
    deliver(store, uptime(NOON, beats=2), uptime(NOON + MINUTE, up=False, beats=0))
    assert uptime_ratio(store, [NODE], NOON, NOON + 2 * MINUTE) == {NODE: 1.0}


WINDOWS = [
    (0, 60),
    (0, 1),
    (59, 60),
    (59, 61),
    (-1, 1),
    (5, 25),
    (-90, 90),
    (-61, 181),
    (60, 60),
    (-600, 600),
]


@pytest.mark.parametrize(("since", "until"), WINDOWS)
def test_any_windows_minutes_are_counted_exactly(store: Store, since: int, until: int) -> None:
    up = [number for number in range(-1500, 200) if number % 7 and number % 11]
    deliver(store, *[uptime(NOON + number * MINUTE) for number in up], uptime(NOON, up=False, beats=0))
    expected = sum(since <= number < until for number in up)
    window = NOON + since * MINUTE, NOON + until * MINUTE
    assert minutes_up_by_node(store, *window).get(NODE, 0) == expected
    assert minutes_up_by_node(store, *window, node_ids=[NODE]).get(NODE, 0) == expected
    assert sum(bits.bit_count() for bits in minutes_up_of_node(store, NODE, *window).values()) == expected


def test_each_hour_of_a_node_has_its_minutes(store: Store) -> None:
    deliver(store, *minutes(NOON - 5 * MINUTE, 65), *minutes(NOON + 2 * HOUR, 7, up=False, beats=0))
    deliver(store, *minutes(NOON, 60, node_id="other"))
    assert minutes_up_of_node(store, NODE, NOON - 24 * HOUR, NOON + 3 * HOUR) == {
        NOON - HOUR: 0b11111 << 55,
        NOON: ALL_MINUTES,
        NOON + 2 * HOUR: 0,  # on record, and down
    }
    assert minutes_up_of_node(store, "unknown", NOON - HOUR, NOON) == {}
    assert minutes_up_in_hour(store, NOON) == {NODE: ALL_MINUTES, "other": ALL_MINUTES}
    assert minutes_up_in_hour(store, NOON + HOUR) == {}


def test_a_window_across_months_is_whole(store: Store) -> None:
    midnight = NOON.replace(month=4, day=1, hour=0)
    deliver(store, *minutes(midnight - 30 * MINUTE, 60))
    assert minutes_up_by_node(store, midnight - HOUR, midnight + HOUR) == {NODE: 60}
    assert minutes_up_of_node(store, NODE, midnight - HOUR, midnight + HOUR) == {
        midnight - HOUR: ALL_MINUTES >> 30 << 30,
        midnight: ALL_MINUTES >> 30,
    }


def test_no_nodes_is_no_question(store: Store) -> None:
    deliver(store, uptime())
    assert uptime_ratio(store, [], NOON, NOON + HOUR) == {}
    assert minutes_up_by_node(store, NOON, NOON + HOUR, node_ids=[]) == {}
    assert minutes_up_by_node(store, NOON, NOON + HOUR, node_ids=["unknown"]) == {}
