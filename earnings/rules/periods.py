"""Days and months of earnings, and when they close. Pure. All of it is UTC, so clock changes never matter."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

# A receipt comes at most 7 days after its request's end, and a dispatch counts for 7 days.
FINAL_AFTER_DAYS = 8

_ONE_DAY = timedelta(days=1)


def day_of(at: datetime) -> date:
    """The UTC day of a moment. Raises `ValueError` for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return at.astimezone(UTC).date()


def day_starts_at(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def day_ends_at(day: date) -> datetime:
    """The first moment after the day."""
    return day_starts_at(day + _ONE_DAY)


def closes_at(day: date) -> datetime:
    """From when on a day can become final: 8 days after its end."""
    return day_ends_at(day) + FINAL_AFTER_DAYS * _ONE_DAY


def may_be_final(day: date, at: datetime) -> bool:
    """Whether a day's time is over. It is final only once accrual has also passed everything accepted before."""
    return at >= closes_at(day)


def last_closed_day(at: datetime) -> date:
    """The newest day for which `may_be_final` holds."""
    return day_of(at) - (FINAL_AFTER_DAYS + 1) * _ONE_DAY


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month in UTC, as of a statement."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, text: str) -> "Month":
        """The month written as 2026-06. Raises `ValueError` for any other text."""
        first = date.fromisoformat(f"{text}-01")
        if f"{first:%Y-%m}" != text:
            raise ValueError(f"not a month: {text!r}")
        return cls.of(first)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        return self.next.first_day - _ONE_DAY

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def previous(self) -> "Month":
        return Month.of(self.first_day - _ONE_DAY)

    @property
    def closes_at(self) -> datetime:
        """From when on all its days can be final, and its statement be stored."""
        return closes_at(self.last_day)

    def days(self) -> list[date]:
        count = (self.next.first_day - self.first_day).days
        return [self.first_day + number * _ONE_DAY for number in range(count)]
