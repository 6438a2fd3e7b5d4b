"""When the next payout is due. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from earnings.rules.periods import Month, day_of, day_starts_at

LAST_MONTHLY_DAY = 28  # every month has it
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class PayoutInterval(StrEnum):
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def label(self) -> str:
        return self.value.capitalize()


@dataclass(frozen=True)
class Schedule:
    """Weekly on a weekday (0 is Monday, 6 is Sunday) or monthly on a day (1 to 28), at 00:00 UTC.

    Raises `ValueError` for any other day.
    """

    interval: PayoutInterval
    day: int

    def __post_init__(self) -> None:
        if problem := schedule_problem(self.interval, self.day):
            raise ValueError(problem)

    def __str__(self) -> str:
        if self.interval is PayoutInterval.WEEKLY:
            return f"every {_WEEKDAYS[self.day]}, 00:00 UTC"
        return f"on day {self.day} of each month, 00:00 UTC"


def schedule_problem(interval: PayoutInterval, day: int) -> str | None:
    """What is wrong with the day of a schedule, for the person who enters it. None if nothing is."""
    if interval is PayoutInterval.WEEKLY and not 0 <= day <= 6:
        return "A weekly payout is on a weekday from 0 (Monday) to 6 (Sunday)."
    if interval is PayoutInterval.MONTHLY and not 1 <= day <= LAST_MONTHLY_DAY:
        return f"A monthly payout is on a day from 1 to {LAST_MONTHLY_DAY}."
    return None


def next_payout(schedule: Schedule, after: datetime) -> datetime:
    """The first payout strictly after a moment, at 00:00 UTC of its day."""
    today = day_of(after)
    if schedule.interval is PayoutInterval.WEEKLY:
        due = today + timedelta(days=(schedule.day - today.weekday()) % 7)
        return day_starts_at(due if day_starts_at(due) > after else due + timedelta(days=7))
    this_month = Month.of(today)
    due = _in_month(this_month, schedule.day)
    return day_starts_at(due if day_starts_at(due) > after else _in_month(this_month.next, schedule.day))


def _in_month(month: Month, day: int) -> date:
    return date(month.year, month.month, day)
