"""The periods of the history: days, weeks or months of UTC, each with its state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from django.db.models import OuterRef, Subquery, Sum

from earnings.figures.as_of import judged_until
from earnings.figures.jtvo import JtvoEstimate, JtvoRates
from earnings.figures.scope import Scope
from earnings.figures.sums import EXACT, Sums, final_days, lines, sums_by_day
from earnings.models import LineBalance
from earnings.rules.periods import closes_at, may_be_final

_DAY = timedelta(days=1)


class PeriodState(StrEnum):
    """How far the amount of a period has come."""

    RUNNING = "running"  # it has not ended
    SETTLING = "settling"  # it has ended, and is not final yet
    FINAL = "final"
    READY = "ready"
    PART_PAID = "part_paid"
    PAID = "paid"

    @property
    def label(self) -> str:
        return {"settling": "Not final", "part_paid": "Partly paid out", "paid": "Paid out"}.get(
            self.value, self.value.capitalize()
        )


@dataclass(frozen=True)
class Period:
    """One period, from `start` to `end`, both included. `final_at`: since when all of it is final."""

    start: date
    end: date
    sums: Sums
    jtvo: JtvoEstimate
    state: PeriodState
    final_at: datetime | None

    @property
    def final(self) -> bool:
        return self.final_at is not None


def day_periods(
    scope: Scope,
    first: date,
    last: date,
    *,
    at: datetime,
    rates: JtvoRates | None = None,
    judged: datetime | None = None,
    of_days: Mapping[date, Sums] | None = None,
) -> list[Period]:
    """The days from `first` to `last`, newest first. Quiet days are included, days ahead are not.

    `rates`, `judged` (until when everything is judged) and `of_days` (the sums of at least these days) are read
    unless the caller has them.
    """
    today = at.astimezone(UTC).date()
    last = min(last, today)
    of_days = sums_by_day(scope.within(first, last)) if of_days is None else of_days
    final, paid, known = final_days(first, last), _paid(scope.within(first, last)), rates or JtvoRates()
    days = [last - n * _DAY for n in range((last - first).days + 1)]
    judged = judged or judged_until(at)
    return [_period(day, day, [day], of_days, final, paid, known, today, judged) for day in days]


def days_of_month(at: datetime) -> tuple[date, date]:
    """The first day of the current month of UTC, and today."""
    today = at.astimezone(UTC).date()
    return today.replace(day=1), today


def month_so_far(
    scope: Scope,
    *,
    at: datetime,
    rates: JtvoRates | None = None,
    of_days: Mapping[date, Sums] | None = None,
) -> Period:
    """The current month of UTC, which runs. `of_days` has the sums of at least its days, or they are read."""
    first, today = days_of_month(at)
    end = (first + timedelta(days=32)).replace(day=1) - _DAY
    days = [first + n * _DAY for n in range((today - first).days + 1)]
    of_days = sums_by_day(scope.within(first, today)) if of_days is None else of_days
    return _period(first, end, days, of_days, {}, {}, rates or JtvoRates(), today, at)


def _period(
    start: date,
    end: date,
    days: Sequence[date],
    of_days: Mapping[date, Sums],
    final: Mapping[date, datetime],
    paid: Mapping[date, "_Paid"],
    rates: JtvoRates,
    today: date,
    judged: datetime,
) -> Period:
    known = {day: of_days[day] for day in days if day in of_days}
    summed = Sums.of_all(known.values())
    # nothing happened on a quiet day, so that it is final once its time is over
    finals = [
        final.get(day, closes_at(day))
        for day in days
        if day in final or (day not in known and may_be_final(day, judged))
    ]
    whole = len(finals) == len(days)
    moved = sum((paid[day] for day in days if day in paid), _Paid())
    return Period(
        start,
        end,
        summed,
        rates.estimate(known or {start: Sums()}),
        _state(summed, moved, ended=end < today, final=whole),
        max(finals) if whole else None,
    )


def _state(summed: Sums, moved: "_Paid", *, ended: bool, final: bool) -> PeriodState:
    if not ended:
        return PeriodState.RUNNING
    if not final:
        return PeriodState.SETTLING
    if moved.exported:
        return PeriodState.PAID if moved.exported >= summed.fees_usd else PeriodState.PART_PAID
    return PeriodState.READY if moved.ready else PeriodState.FINAL


@dataclass(frozen=True)
class _Paid:
    ready: Decimal = Decimal(0)
    exported: Decimal = Decimal(0)

    def __add__(self, other: "_Paid") -> "_Paid":
        return _Paid(EXACT.add(self.ready, other.ready), EXACT.add(self.exported, other.exported))


def _paid(scope: Scope) -> dict[date, _Paid]:
    """What is ready and paid out of each day. Not asked for the whole network, which has no payout."""
    if scope.org_id is None and scope.node_id is None:
        return {}
    # Each balance is looked up by its line. For a join, PostgreSQL reads those of all organisations.
    balance = LineBalance.objects.filter(line=OuterRef("pk"))
    found = (
        lines(scope)
        .filter(final_at__isnull=False)  # others have none
        .annotate(
            of_ready=Subquery(balance.values("ready")), of_exported=Subquery(balance.values("exported"))
        )
        .values("day")
        .annotate(ready=Sum("of_ready", default=0), exported=Sum("of_exported", default=0))
    )
    return {row["day"]: _Paid(Decimal(row["ready"]), Decimal(row["exported"])) for row in found}
