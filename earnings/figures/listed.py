"""Earnings as lists that are read page by page, newest first: the days of a node, and steps by node and model.

A day, or another step, without receipts is not listed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncHour, TruncMonth

from earnings.figures.items import items
from earnings.figures.jtvo import JtvoRates
from earnings.figures.scope import Scope
from earnings.figures.series import MOST_RECEIPTS_BY_HOUR, By, Step, TooManyReceipts
from earnings.figures.sums import Sums, lines, receipts
from earnings.models import VerdictState
from jatevo.web.paging import group_page

Groups = QuerySet[Any, dict[str, Any]]

_DAY = timedelta(days=1)
_ZERO = Decimal(0)
_LINE_SUMS = {
    "sum_receipts": Sum("receipts"),
    "sum_fees": Sum("payable_usd"),
    "sum_held": Sum("held_usd"),
    "running": Count("pk", filter=Q(final_at__isnull=True)),
}


class Stage(StrEnum):
    """How far a day's amounts have come: the first of these of which the day has a part."""

    RUNNING = "running"  # not final: the amounts may still change, and are not in the ledger
    HELD = "held"
    ACCRUED = "accrued"  # final, and available for a payout; also a final day with nothing to pay
    READY = "ready"  # marked for the next export
    EXPORTED = "exported"  # all of it is in a payout


@dataclass(frozen=True)
class EarnedStep:
    """What receipts of one step come to. `node_id` and `model` are None where it is not split by them.

    `jtvo` is None without a rate, and so is `jtvo_rate`, which a step of several days does not have. `final`: no
    part of it changes any more, except by a movement in the ledger.
    """

    start: datetime
    end: datetime
    node_id: str | None
    model: str | None
    receipts: int
    fees_usd: Decimal
    held_usd: Decimal
    jtvo: Decimal | None
    jtvo_rate: Decimal | None
    final: bool
    stage: Stage | None = None


@dataclass(frozen=True)
class ListedPage:
    """A page of steps, and the cursor of the next one."""

    steps: list[EarnedStep]
    next: str | None


def listed_days(scope: Scope, *, cursor: str | None, limit: int, rates: JtvoRates) -> ListedPage:
    """The UTC days of the scope, each with its stage. Raises ApiError 422 for an invalid cursor."""
    accounts = {
        name: Coalesce(Sum(f"balance__{name}"), _ZERO) for name in ("accrued", "held", "ready", "exported")
    }
    days: Groups = lines(scope).values("day").annotate(**_LINE_SUMS, **accounts)  # type: ignore[assignment]
    page = group_page(days, cursor=cursor, limit=limit, fields=["-day"])
    return ListedPage([_day(row, rates) for row in page.rows], page.next)


def _day(row: dict[str, Any], rates: JtvoRates) -> EarnedStep:
    start = datetime.combine(row["day"], time.min, tzinfo=UTC)
    rate = rates.of(row["day"])
    jtvo = rates.estimate({row["day"]: Sums(payable_usd=row["sum_fees"])}) if rate else None
    return EarnedStep(
        start,
        start + _DAY,
        None,
        None,
        row["sum_receipts"],
        row["sum_fees"],
        row["sum_held"],
        jtvo.value if jtvo else None,
        rate.jtvo_per_usd if rate else None,
        final=not row["running"],
        stage=_stage(row),
    )


def _stage(row: dict[str, Any]) -> Stage:
    if row["running"]:
        return Stage.RUNNING
    for stage in (Stage.HELD, Stage.ACCRUED, Stage.READY, Stage.EXPORTED):
        if row[stage.value]:
            return stage
    return Stage.ACCRUED


def listed_steps(
    scope: Scope, step: Step, by: Collection[By], *, cursor: str | None, limit: int, rates: JtvoRates
) -> ListedPage:
    """Hours, days or months of the scope, split by node, model or both.

    Raises TooManyReceipts by hour, and ApiError 422 for an invalid cursor.
    """
    keys = [key for each, key in ((By.NODE, "node_id"), (By.MODEL, "model")) if each in by]
    rows = _by_hour(scope, keys) if step is Step.HOUR else _by_day(scope, step, keys)
    page = group_page(rows, cursor=cursor, limit=limit, fields=["-start", *(f"-{key}" for key in keys)])
    jtvo = _estimates(scope, step, keys, page.rows, rates)
    return ListedPage(
        [_step(step, row, value, rates) for row, value in zip(page.rows, jtvo, strict=True)],
        page.next,
    )


def _by_day(scope: Scope, step: Step, keys: Iterable[str]) -> Groups:
    start = TruncMonth("day") if step is Step.MONTH else F("day")
    return lines(scope).annotate(start=start).values("start", *keys).annotate(**_LINE_SUMS)


def _by_hour(scope: Scope, keys: Iterable[str]) -> Groups:
    if receipts(scope) > MOST_RECEIPTS_BY_HOUR:
        raise TooManyReceipts
    found = items(scope).order_by().annotate(start=TruncHour("ts_end", tzinfo=UTC)).values("start", *keys)
    return found.annotate(
        sum_receipts=Count("receipt_id"),
        sum_fees=Coalesce(Sum("fee_usd", filter=Q(state=VerdictState.PAYABLE)), _ZERO),
        sum_held=Coalesce(Sum("fee_usd", filter=Q(state=VerdictState.HELD)), _ZERO),
        running=Count("receipt_id", filter=Q(line__final_at__isnull=True)),
    )


def _step(step: Step, row: dict[str, Any], jtvo: Decimal | None, rates: JtvoRates) -> EarnedStep:
    start = row["start"]
    if step is not Step.HOUR:
        start = datetime.combine(start, time.min, tzinfo=UTC)
    rate = None if step is Step.MONTH else rates.of(start.date())
    return EarnedStep(
        start,
        step.after(start),
        row.get("node_id"),
        row.get("model"),
        row["sum_receipts"],
        row["sum_fees"],
        row["sum_held"],
        jtvo,
        rate.jtvo_per_usd if rate else None,
        final=not row["running"],
    )


def _estimates(
    scope: Scope, step: Step, keys: list[str], rows: list[dict[str, Any]], rates: JtvoRates
) -> list[Decimal | None]:
    """The estimate of each row. A month's is the sum of its days', because each day has its own rate."""
    if not rows:
        return []
    if step is not Step.MONTH:
        return [
            rates.estimate({_utc_day(row["start"]): Sums(payable_usd=row["sum_fees"])}).value for row in rows
        ]
    of_page = scope.within(
        max(rows[-1]["start"], scope.first or date.min),
        min((rows[0]["start"] + 32 * _DAY).replace(day=1) - _DAY, scope.last or date.max),
    )
    narrowed = {f"{key}__in": {row[key] for row in rows} for key in keys}
    days: dict[tuple[Any, ...], dict[date, Sums]] = defaultdict(dict)
    for row in lines(of_page).filter(**narrowed).values("day", *keys).annotate(sum_fees=Sum("payable_usd")):
        group = (row["day"].replace(day=1), *(row[key] for key in keys))
        days[group][row["day"]] = Sums(payable_usd=row["sum_fees"])
    return [rates.estimate(days[row["start"], *(row[key] for key in keys)]).value for row in rows]


def _utc_day(start: date | datetime) -> date:
    return start.date() if isinstance(start, datetime) else start
