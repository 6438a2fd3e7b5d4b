"""The regularity of heartbeats: the share of minutes, and the longest silence."""

from datetime import UTC, datetime, timedelta

from nodes.rules.heartbeat_regularity import Regularity, regularity

AT = datetime(2026, 3, 10, 12, 30, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALL = (1 << 60) - 1
LONG_AGO = AT - timedelta(days=9)


def full_day() -> dict[datetime, int]:
    this_hour = AT.replace(minute=0, second=0)
    return {this_hour - hours * timedelta(hours=1): ALL for hours in range(25)}


def test_a_day_without_a_gap_is_whole() -> None:
    assert regularity(full_day(), {}, first_heard_at=LONG_AGO, at=AT) == Regularity(1440, 1440, 0, None)


def test_the_longest_gap_goes_over_the_border_of_hours() -> None:
    heard = full_day()
    nine = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
    heard[nine] = ALL & ~(0b111 << 57)  # 9:57 to 9:59
    heard[nine + timedelta(hours=1)] = ALL & ~0b11  # 10:00 and 10:01
    found = regularity(heard, {}, first_heard_at=LONG_AGO, at=AT)
    assert (found.minutes_heard, found.longest_gap_minutes) == (1435, 5)
    assert found.longest_gap_from == nine + 57 * MINUTE


def test_single_minutes_fill_what_the_hours_do_not_have_yet() -> None:
    heard = full_day()
    del heard[AT.replace(minute=0, second=0)]
    minute = AT.replace(second=0)
    beats = {minute - back * MINUTE: 6 for back in range(1, 31)}
    assert regularity(heard, beats, first_heard_at=LONG_AGO, at=AT).longest_gap_minutes == 0
    beats[minute - 5 * MINUTE] = 0
    found = regularity(heard, beats, first_heard_at=LONG_AGO, at=AT)
    assert (found.longest_gap_minutes, found.longest_gap_from) == (1, minute - 5 * MINUTE)


def test_a_young_node_counts_from_its_first_heartbeat() -> None:
    minute = AT.replace(second=0)
    beats = {minute - 10 * MINUTE: 6, minute - 9 * MINUTE: 6}
    found = regularity({}, beats, first_heard_at=minute - 10 * MINUTE, at=AT)
    assert (found.minutes_heard, found.minutes_expected, found.longest_gap_minutes) == (2, 10, 8)


def test_the_first_minute_counts_though_it_is_no_whole_one() -> None:
    """A node that was heard only in its first minute has one of ten, not "none expected yet"."""
    first = AT.replace(second=0) - 10 * MINUTE
    found = regularity({}, {first: 2}, first_heard_at=first + timedelta(seconds=41), at=AT)
    assert (found.minutes_heard, found.minutes_expected, found.longest_gap_minutes) == (1, 10, 9)


def test_minutes_in_which_no_node_could_be_heard_are_not_expected() -> None:
    heard = full_day()
    nine = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
    heard[nine] = ALL & ~(0b11 << 25)
    minutes = {nine + minute * MINUTE for minute in (24, 25, 26)}  # in one of them it was heard all the same
    unheard = {nine: 0b111 << 24}
    found = regularity(heard, {}, first_heard_at=LONG_AGO, at=AT, excused=minutes, unheard=unheard)
    assert (found.minutes_heard, found.minutes_expected, found.minutes_excused) == (1438, 1438, 2)


def test_excused_silence_is_no_part_of_the_longest() -> None:
    heard = full_day()
    nine = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
    heard[nine] = ALL & ~(0xFFFFF << 20)  # 9:20 to 9:39
    excused = {nine + minute * MINUTE for minute in range(25, 36)}
    found = regularity(heard, {}, first_heard_at=LONG_AGO, at=AT, excused=excused)
    assert (found.longest_gap_minutes, found.longest_gap_from) == (5, nine + 20 * MINUTE)
    assert (found.minutes_heard, found.minutes_expected, found.minutes_excused) == (1420, 1440, 11)


def test_what_was_never_due_has_no_share() -> None:
    assert regularity({}, {}, first_heard_at=AT, at=AT).share is None
    assert regularity({}, {}, first_heard_at=None, at=AT).share is None
    assert regularity({}, {}, first_heard_at=LONG_AGO, at=AT).share == 0
