"""Days, months and payout dates: all UTC, whatever clocks do."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnings.rules.periods import (
    Month,
    closes_at,
    day_ends_at,
    day_of,
    day_starts_at,
    last_closed_day,
    may_be_final,
)
from earnings.rules.schedule import PayoutInterval, Schedule, next_payout, schedule_problem

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
DAYS = st.dates(date(2020, 1, 1), date(2099, 1, 1))
SCHEDULES = st.one_of(
    st.integers(0, 6).map(lambda day: Schedule(PayoutInterval.WEEKLY, day)),
    st.integers(1, 28).map(lambda day: Schedule(PayoutInterval.MONTHLY, day)),
)


@given(MOMENTS)
def test_each_moment_lies_in_one_day(at: datetime) -> None:
    day = day_of(at)
    assert day_starts_at(day) <= at < day_ends_at(day)


def test_the_day_is_that_of_utc_where_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert day_of(datetime(2026, 3, 29, 0, 30, tzinfo=berlin)) == date(2026, 3, 28)
    assert day_of(datetime(2026, 10, 25, 0, 59, tzinfo=berlin)) == date(2026, 10, 24)
    for day in (date(2026, 3, 29), date(2026, 10, 25)):
        assert day_ends_at(day) - day_starts_at(day) == timedelta(hours=24)


def test_a_moment_without_a_zone_has_no_day() -> None:
    with pytest.raises(ValueError, match="time zone"):
        day_of(datetime(2026, 6, 1, 12))  # noqa: DTZ001


def test_a_day_can_be_final_eight_days_after_its_end() -> None:
    day = date(2026, 6, 1)
    assert closes_at(day) == datetime(2026, 6, 10, tzinfo=UTC)
    assert may_be_final(day, datetime(2026, 6, 10, tzinfo=UTC))
    assert not may_be_final(day, datetime(2026, 6, 9, 23, 59, 59, tzinfo=UTC))


@given(MOMENTS)
def test_the_last_closed_day_is_the_newest_that_can_be_final(at: datetime) -> None:
    day = last_closed_day(at)
    assert may_be_final(day, at)
    assert not may_be_final(day + timedelta(days=1), at)


@given(DAYS)
def test_months_follow_each_other_without_a_gap(day: date) -> None:
    month = Month.of(day)
    assert day in month.days()
    assert month.next.first_day - month.last_day == timedelta(days=1)
    assert month.next.previous == month
    assert Month.parse(str(month)) == month
    assert (month.days()[0], month.days()[-1]) == (month.first_day, month.last_day)


def test_a_month_closes_with_its_last_day() -> None:
    assert Month(2026, 2).closes_at == datetime(2026, 3, 9, tzinfo=UTC)
    assert str(Month(2026, 12).next) == "2027-01"


@pytest.mark.parametrize("text", ["2026-13", "2026-6", "2026", "", "2026-06-01", "06-2026", "202606"])
def test_other_texts_are_no_months(text: str) -> None:
    with pytest.raises(ValueError):
        Month.parse(text)


@given(SCHEDULES, MOMENTS)
def test_the_next_payout_is_the_first_of_its_days_strictly_after(schedule: Schedule, at: datetime) -> None:
    due = next_payout(schedule, at)
    assert due > at

    def is_payout_day(day: date) -> bool:
        weekly = schedule.interval is PayoutInterval.WEEKLY
        return (day.weekday() if weekly else day.day) == schedule.day

    assert due == day_starts_at(day_of(due))
    assert is_payout_day(day_of(due))
    between = day_of(at) + timedelta(days=1)
    while between < day_of(due):
        assert not is_payout_day(between)
        between += timedelta(days=1)


def test_payouts_in_numbers() -> None:
    monthly = Schedule(PayoutInterval.MONTHLY, 1)
    weekly = Schedule(PayoutInterval.WEEKLY, 0)
    assert next_payout(monthly, datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_payout(monthly, datetime(2026, 11, 30, 23, 59, tzinfo=UTC)) == datetime(
        2026, 12, 1, tzinfo=UTC
    )
    assert next_payout(weekly, datetime(2026, 6, 1, tzinfo=UTC)) == datetime(2026, 6, 8, tzinfo=UTC)
    assert str(monthly) == "on day 1 of each month, 00:00 UTC"
    assert str(weekly) == "every Monday, 00:00 UTC"


@given(SCHEDULES, MOMENTS)
def test_payouts_come_again_and_again(schedule: Schedule, at: datetime) -> None:
    due = [at]
    for _ in range(4):
        due.append(next_payout(schedule, due[-1]))
    longest = timedelta(days=7 if schedule.interval is PayoutInterval.WEEKLY else 31)
    assert all(later - earlier <= longest for earlier, later in pairwise(due))


@pytest.mark.parametrize(
    ("interval", "day"),
    [
        (PayoutInterval.WEEKLY, -1),
        (PayoutInterval.WEEKLY, 7),
        (PayoutInterval.MONTHLY, 0),
        (PayoutInterval.MONTHLY, 29),
    ],
)
def test_days_that_some_months_or_weeks_lack_are_refused(interval: PayoutInterval, day: int) -> None:
    assert schedule_problem(interval, day)
    with pytest.raises(ValueError, match="payout"):
        Schedule(interval, day)
