"""Sums of earnings: what receipts come to by their verdicts, exactly.

They are read from the smallest table that has them: lines, the totals of days where no node is asked for (over all
models or all organisations where these are not asked for either), or the totals of nodes where all days are. All of
them have the same columns and the same sums.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Context, Decimal, Inexact
from operator import attrgetter
from typing import Any, Self

from django.db.models import F, Min, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth, TruncWeek

from earnings.figures.scope import Scope
from earnings.models import DayTotal, FinalDay, Line, NetworkDayTotal, NodeTotal, OrgDayTotal

# Sums keep every digit: Python's default context would round to 28.
EXACT = Context(prec=100, traps=[Inexact])


@dataclass(frozen=True)
class Sums:
    """What receipts come to. `payable_usd` is the fees; `confirmed_usd` the part that a gateway confirms."""

    receipts: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    payable_receipts: int = 0
    payable_usd: Decimal = Decimal(0)
    confirmed_usd: Decimal = Decimal(0)
    held_receipts: int = 0
    held_usd: Decimal = Decimal(0)
    excluded_receipts: int = 0
    excluded_usd: Decimal = Decimal(0)

    @property
    def fees_usd(self) -> Decimal:
        """What is neither held nor excluded."""
        return self.payable_usd

    @property
    def unconfirmed_usd(self) -> Decimal:
        """The part of the fees that no gateway confirms."""
        return EXACT.subtract(self.payable_usd, self.confirmed_usd)

    @classmethod
    def of_all(cls, several: Iterable["Sums"]) -> Self:
        """All of them together."""
        rows = [_VALUES(each) for each in several]
        return cls(*map(_column_sum, zip(*rows, strict=True)))

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From the aggregates of a query, whose sums over nothing are None."""
        values: dict[str, Any] = {
            name: (Decimal if name.endswith("_usd") else int)(row[name] or 0) for name in NAMES
        }
        return cls(**values)


NAMES = tuple(each.name for each in fields(Sums))
_VALUES = attrgetter(*NAMES)
_AGGREGATES = {name: Sum(name) for name in NAMES}


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    found = Decimal(0)
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def sums(scope: Scope) -> Sums:
    """All of the scope in one."""
    rows = _of_nodes(scope) if scope.to_date else _of_days(scope)
    return Sums.of(rows.aggregate(**_AGGREGATES))


def fees(scope: Scope) -> Decimal:
    """The fees alone, which is less to ask for."""
    return Decimal(_added(scope, "payable_usd"))


def receipts(scope: Scope) -> int:
    """How many receipts."""
    return int(_added(scope, "receipts"))


def sums_by_node(scope: Scope) -> dict[str, Sums]:
    """By node id. Nodes without receipts are left out."""
    rows = _of_nodes(scope) if scope.to_date else lines(scope)
    return _grouped(rows, "node_id")


def sums_by_model(scope: Scope) -> dict[str, Sums]:
    """By model, in the form in which models are compared."""
    return _grouped(_of_days(scope, "model"), "model")


def sums_by_org(scope: Scope) -> dict[Any, Sums]:
    """By the id of the organisation."""
    return _grouped(_of_nodes(scope) if scope.to_date else _of_days(scope, "org_id"), "org_id")


def sums_by_day(scope: Scope, *, also: tuple[date, date] | None = None) -> dict[date, Sums]:
    """By UTC day. Days without receipts are left out. `also`: with the days from the first to the second of these."""
    if also is None or scope.first is None or scope.last is None:
        return _grouped(_of_days(scope), "day")
    days = Q(day__range=(scope.first, scope.last)) | Q(day__range=also)
    return _grouped(_of_days(scope.within(None, None)).filter(days), "day")


def sums_by(scope: Scope, *keys: str) -> dict[tuple[Any, ...], Sums]:
    """By several of `node_id`, `org_id`, `model`, `day` and `month` (its first day)."""
    rows = lines(scope) if "node_id" in keys else _of_days(scope, *keys)
    wanted = ["step" if key == "month" else key for key in keys]
    if "month" in keys:
        rows = rows.annotate(step=TruncMonth("day"))
    found = rows.order_by().values(*wanted).annotate(**_renamed())
    return {tuple(row[name] for name in wanted): Sums.of(_own(row)) for row in found}


def fees_and_held(scope: Scope, keys: Sequence[str], step: str) -> Iterable[tuple[Any, ...]]:
    """Rows of the keys (`node_id`, `org_id`, `model`), the first day of the step (`day`, `week` from its Monday, or
    `month`), the fees and what is held.
    """
    rows = lines(scope) if "node_id" in keys else _of_days(scope, *keys)
    starts = {"day": F("day"), "week": TruncWeek("day"), "month": TruncMonth("day")}[step]
    return (
        rows.order_by()
        .annotate(step=starts)
        .values_list(*keys, "step")
        .annotate(fees=Sum("payable_usd"), held=Sum("held_usd"))
    )


def lines(scope: Scope) -> QuerySet[Line]:
    """The lines of the scope."""
    return scope.narrow(Line.objects.order_by(), node="node_id", model="model", day="day", line="pk")


def first_day(scope: Scope) -> date | None:
    """The first day of the scope that has receipts."""
    found: date | None = _of_days(scope).aggregate(first=Min("day"))["first"]
    return found


def final_days(first: date, last: date) -> dict[date, datetime]:
    """The final days among these, with the moment at which each became final."""
    return dict(FinalDay.objects.filter(day__range=(first, last)).values_list("day", "final_at"))


def _column_sum(column: Sequence[Any]) -> Any:
    return total(column) if isinstance(column[0], Decimal) else sum(column)


def _added(scope: Scope, name: str) -> Any:
    rows = _of_nodes(scope) if scope.to_date else _of_days(scope)
    return rows.aggregate(added=Sum(name))["added"] or 0


def _of_days(scope: Scope, *keys: str) -> QuerySet[Any]:
    """Rows of days, which also have these columns."""
    if scope.node_id is not None or scope.line_id is not None:
        return lines(scope)
    if scope.org_id is None and "org_id" not in keys:
        totals: QuerySet[Any] = NetworkDayTotal.objects.all()
    elif scope.model is None and "model" not in keys:
        totals = OrgDayTotal.objects.all()
    else:
        totals = DayTotal.objects.all()
    return scope.narrow(totals.order_by(), model="model", day="day")


def _of_nodes(scope: Scope) -> QuerySet[Any]:
    return scope.narrow(NodeTotal.objects.order_by(), node="node_id")


def _grouped(rows: QuerySet[Any], key: str) -> dict[Any, Sums]:
    found = rows.order_by().values(key).annotate(**_renamed())
    return {row[key]: Sums.of(_own(row)) for row in found}


# An annotation may not be called like the field that it sums.
def _renamed() -> dict[str, Sum]:
    return {f"sum_{name}": Sum(F(name)) for name in NAMES}


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[f"sum_{name}"] for name in NAMES}
