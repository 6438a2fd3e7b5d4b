"""Earnings over time, in steps of an hour, a day, a week or a month. All steps are UTC.

A quiet step is zero. A step before the node or the organisation existed is unknown, and so is one that
accrual has not reached yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import F, Min, Q, QuerySet, Sum
from django.db.models.functions import TruncHour

from earnings.figures.items import items
from earnings.figures.scope import Scope
from earnings.figures.sums import Sums, fees_and_held, first_day, receipts, total
from earnings.models import VerdictState
from jatevo.accounts.models import Org
from nodes.models import Node

# Hours are summed from single receipts. Beyond this many, a chart by hour asks for a narrower scope.
MOST_RECEIPTS_BY_HOUR = 50_000


class Step(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def start_of(self, moment: datetime) -> datetime:
        """The start of the step that contains the moment."""
        moment = moment.astimezone(UTC)
        if self is Step.HOUR:
            return moment.replace(minute=0, second=0, microsecond=0)
        day = moment.date()
        if self is Step.WEEK:
            day -= timedelta(days=day.weekday())
        elif self is Step.MONTH:
            day = day.replace(day=1)
        return datetime.combine(day, time.min, tzinfo=UTC)

    def after(self, start: datetime) -> datetime:
        """The start of the next step."""
        if self is Step.MONTH:
            return (start + timedelta(days=32)).replace(day=1)
        return start + _LENGTHS[self]


_LENGTHS = {
    Step.HOUR: timedelta(hours=1),
    Step.DAY: timedelta(days=1),
    Step.WEEK: timedelta(days=7),
}


class By(StrEnum):
    """What a series is split by."""

    ALL = "all"
    NODE = "node"
    MODEL = "model"
    ORG = "org"


_KEYS = {By.NODE: "node_id", By.MODEL: "model", By.ORG: "org_id"}


class TooManyReceipts(Exception):
    """So many receipts cannot be summed by hour while somebody waits."""


@dataclass(frozen=True)
class Point:
    """One step. The amounts are None where unknown. `running`: the step has not ended, or is not judged whole."""

    start: datetime
    end: datetime
    fees_usd: Decimal | None
    held_usd: Decimal | None
    running: bool = False


@dataclass(frozen=True)
class Series:
    """The points of one node, model or organisation, or of all of them (`key` '')."""

    key: str
    points: list[Point] = field(default_factory=list)

    @property
    def fees_usd(self) -> Decimal:
        """The sum of the known points."""
        return total(point.fees_usd for point in self.points if point.fees_usd is not None)


def series(
    scope: Scope,
    step: Step,
    by: By,
    *,
    first: date,
    last: date,
    at: datetime,
    judged_until: datetime,
    since: datetime | None = None,
    of_days: Mapping[date, Sums] | None = None,
) -> list[Series]:
    """The series of the scope's days from `first` to `last`, largest first.

    `since` (what `known_since` gives) and `of_days` (the sums of at least these days) are read unless the caller has
    them. Raises TooManyReceipts by hour.
    """
    scope = scope.within(first, last)
    if step is Step.HOUR:
        amounts = _by_hour(scope, by)
    elif by is By.ALL and of_days is not None:
        amounts = _from_days({day: sums for day, sums in of_days.items() if scope.has_day(day)}, step)
    else:
        amounts = _by_day(scope, step, by)
    steps = [(start, step.after(start)) for start in _starts(step, first, last, at)]
    since = since or known_since(scope)
    keys = sorted({key for key, _ in amounts}) or ([""] if by is By.ALL else [])
    found = [
        Series(
            key,
            [
                _point(start, end, amounts.get((key, start)), since=since, judged_until=judged_until)
                for start, end in steps
            ],
        )
        for key in keys
    ]
    return sorted(found, key=lambda each: (-each.fees_usd, each.key))


def merged(several: Iterable[Series], key: str) -> Series:
    """Several series as one, such as all that have no colour of their own."""
    every = list(several)
    if len(every) == 1:
        return Series(key, every[0].points)
    rows = zip(*(each.points for each in every), strict=True)
    return Series(key, [_together(row) for row in rows])


def _together(points: Iterable[Point]) -> Point:
    known = list(points)
    return Point(
        known[0].start,
        known[0].end,
        _sum_known(point.fees_usd for point in known),
        _sum_known(point.held_usd for point in known),
        known[0].running,
    )


def _sum_known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return total(known) if known else None


Found = Mapping[tuple[str, datetime], tuple[Decimal, Decimal]]


def _by_day(scope: Scope, step: Step, by: By) -> Found:
    keys = [_KEYS[by]] if by is not By.ALL else []
    return {
        (str(key[0]) if keys else "", datetime.combine(day, time.min, tzinfo=UTC)): (fees, held)
        for *key, day, fees, held in fees_and_held(scope, keys, str(step))
    }


def _from_days(days: Mapping[date, Sums], step: Step) -> Found:
    found: dict[tuple[str, datetime], tuple[Decimal, Decimal]] = {}
    for day, sums_of_day in days.items():
        key = "", step.start_of(datetime.combine(day, time.min, tzinfo=UTC))
        fees, held = found.get(key, (Decimal(0), Decimal(0)))
        found[key] = total((fees, sums_of_day.payable_usd)), total((held, sums_of_day.held_usd))
    return found


def _by_hour(scope: Scope, by: By) -> Found:
    if receipts(scope) > MOST_RECEIPTS_BY_HOUR:
        raise TooManyReceipts
    keys = [_KEYS[by]] if by is not By.ALL else []
    hours = (
        items(scope)
        .order_by()
        .values(*keys, hour=TruncHour("ts_end", tzinfo=UTC))
        .annotate(
            fees=Sum(F("fee_usd"), filter=Q(state=VerdictState.PAYABLE)),
            held=Sum(F("fee_usd"), filter=Q(state=VerdictState.HELD)),
        )
    )
    return {
        (str(row[keys[0]]) if keys else "", row["hour"]): (
            row["fees"] or Decimal(0),
            row["held"] or Decimal(0),
        )
        for row in hours
    }


def _starts(step: Step, first: date, last: date, at: datetime) -> Iterator[datetime]:
    """The steps that overlap the days, without those that have not begun."""
    start = step.start_of(datetime.combine(first, time.min, tzinfo=UTC))
    end = min(datetime.combine(last + timedelta(days=1), time.min, tzinfo=UTC), at)
    while start < end:
        yield start
        start = step.after(start)


def _point(
    start: datetime,
    end: datetime,
    found: tuple[Decimal, Decimal] | None,
    *,
    since: datetime | None,
    judged_until: datetime,
) -> Point:
    running = end > judged_until
    if found is not None:
        return Point(start, end, *found, running=running)
    if since is None or end <= since or start >= judged_until:
        return Point(start, end, None, None, running=running)
    return Point(start, end, Decimal(0), Decimal(0), running=running)


def known_since(scope: Scope) -> datetime | None:
    """From when on a quiet time is zero: since the node, the organisation or the network was there, and at the
    latest since its first receipt. None if there is nothing of it.
    """
    if scope.node_id is not None:
        # another organisation's node is like one that does not exist
        there: QuerySet[Any] = scope.own(Node.objects.filter(pk=scope.node_id))
    elif scope.org_id is not None:
        there = Org.objects.filter(pk=scope.org_id)
    else:
        there = Org.objects.all()
    since: datetime | None = there.aggregate(first=Min("created_at"))["first"]
    worked: date | None = first_day(scope.within(None, None))
    if worked is None:
        return since
    first = datetime.combine(worked, time.min, tzinfo=UTC)
    return first if since is None else min(since, first)
