"""The tables that can be had as files. Their sums are those of the page, from the same functions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

from earnings.figures.balances import Balances, balances_by_node
from earnings.figures.jtvo import JtvoEstimate, JtvoRates
from earnings.figures.periods import Period, day_periods
from earnings.figures.query import EarningsQuery
from earnings.figures.scope import Scope
from earnings.figures.series import Step
from earnings.figures.sums import Sums, lines, sums_by_model, sums_by_node
from earnings.models import Line
from earnings.rules.periods import may_be_final
from jatevo.flags.registry import Flag, enabled
from jatevo.web.export_table import ExportTable, FileColumn
from nodes.models import Node

T = TypeVar("T")
_LINES_AT_ONCE = 2000


class What(StrEnum):
    """What a file lists."""

    PERIODS = "periods"
    NODES = "nodes"
    MODELS = "models"
    LINES = "lines"
    RECEIPTS = "receipts"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    What.PERIODS: "Periods",
    What.NODES: "Nodes",
    What.MODELS: "Models",
    What.LINES: "Days by node, model and rate",
    What.RECEIPTS: "Receipts",
}


def _sum_columns(of: Callable[[T], Sums]) -> list[FileColumn[T]]:
    """The sums, as every table names them."""

    def column(name: str) -> FileColumn[T]:
        return FileColumn(name, lambda row: getattr(of(row), name))

    names = (
        "fees_usd", "confirmed_usd", "held_usd", "excluded_usd", "receipts", "payable_receipts", "held_receipts",
        "excluded_receipts", "tokens_input", "tokens_output",
    )  # fmt: skip
    return [column(name) for name in names]


@dataclass(frozen=True)
class PeriodRow:
    """The chosen days of one day, week or month."""

    start: date
    end: date
    sums: Sums
    jtvo: JtvoEstimate
    final: bool


def periods(query: EarningsQuery, step: Step, *, at: datetime) -> ExportTable[PeriodRow]:
    """Days, weeks or months, newest first. Quiet ones are listed with 0, as on the page."""
    columns: list[FileColumn[PeriodRow]] = [
        FileColumn("first_day", lambda row: row.start),
        FileColumn("last_day", lambda row: row.end),
        *_sum_columns(lambda row: row.sums),
        FileColumn("final", lambda row: row.final),
    ]
    if enabled(Flag.SHOW_JTVO_ESTIMATES):
        columns += [
            FileColumn("jtvo_est", lambda row: row.jtvo.value),
            FileColumn("jtvo_per_usd", lambda row: _one_rate(row.jtvo)),
            FileColumn("days_without_jtvo_rate", lambda row: row.jtvo.days_without),
        ]
    return ExportTable(columns, _period_rows(query, step, at=at))


def _period_rows(query: EarningsQuery, step: Step, *, at: datetime) -> Iterator[PeriodRow]:
    rates = JtvoRates()
    days = day_periods(query.scope, query.first, query.last, at=at, rates=rates)
    for _, of_step in groupby(days, key=lambda day: _step_of(day.start, step)):
        newest_first = list(of_step)
        known = {day.start: day.sums for day in newest_first}
        yield PeriodRow(
            newest_first[-1].start,
            newest_first[0].end,
            Sums.of_all(known.values()),
            rates.estimate(known),
            all(_final(day, at=at) for day in newest_first),
        )


def _step_of(day: date, step: Step) -> date:
    match step:
        case Step.WEEK:
            return day - timedelta(days=day.weekday())
        case Step.MONTH:
            return day.replace(day=1)
    return day


def _final(day: Period, *, at: datetime) -> bool:
    return day.final or (not day.sums.receipts and may_be_final(day.start, at))


def _one_rate(estimate: JtvoEstimate) -> Decimal | None:
    """The rate of a period that has just one."""
    return estimate.rates[0].jtvo_per_usd if len(estimate.rates) == 1 else None


@dataclass(frozen=True)
class NodeRow:
    """A node: what it earned in the chosen days, and its balance now."""

    node_id: str
    org: str
    sums: Sums
    balance: Balances


def nodes(query: EarningsQuery) -> ExportTable[NodeRow]:
    """Every node of the organisation, by name, and those that left it and earned for it before."""
    columns: list[FileColumn[NodeRow]] = [
        FileColumn("node_id", lambda row: row.node_id),
        FileColumn("organisation", lambda row: row.org),
        *_sum_columns(lambda row: row.sums),
        FileColumn("available_usd", lambda row: row.balance.available),
        FileColumn("ready_usd", lambda row: row.balance.ready),
        FileColumn("paid_out_usd", lambda row: row.balance.exported),
    ]
    return ExportTable(columns, _node_rows(query.scope))


def _node_rows(scope: Scope) -> Iterator[NodeRow]:
    earned, balances = sums_by_node(scope), balances_by_node(scope)
    own = scope.narrow(Node.objects.all(), node="pk")
    former = Node.objects.filter(pk__in={*earned, *balances} - {None})
    names = (own | former).order_by("pk").values_list("pk", "org_id", "org__name")
    for node_id, org_id, org in names:
        # whoever has the node now is not told to those who had it before
        shown = org if scope.org_id in (None, org_id) else ""
        yield NodeRow(node_id, shown, earned.get(node_id, Sums()), balances.get(node_id, Balances()))


def models(query: EarningsQuery) -> ExportTable[tuple[str, Sums]]:
    """The models of the chosen days, by name, in the form in which models are compared."""
    columns: list[FileColumn[tuple[str, Sums]]] = [
        FileColumn("model", lambda row: row[0]),
        *_sum_columns(lambda row: row[1]),
    ]
    return ExportTable(columns, iter(sorted(sums_by_model(query.scope).items())))


def lines_table(query: EarningsQuery) -> ExportTable[Line]:
    """Every line with the rate that it was priced at, newest day first."""
    columns: list[FileColumn[Line]] = [
        FileColumn("day", lambda row: row.day),
        FileColumn("node_id", lambda row: row.node_id),
        FileColumn("organisation", lambda row: row.org.name),
        FileColumn("model", lambda row: row.model),
        *rate_columns(lambda row: row.rate),
        *_sum_columns(_sums_of_line),
        FileColumn("final_at", lambda row: row.final_at),
        *(
            FileColumn(f"{name}_usd", _of_balance(account))
            for name, account in (("available", "accrued"), ("ready", "ready"), ("paid_out", "exported"))
        ),
    ]
    return ExportTable(columns, _in_parts(lines(query.scope)))


def rate_columns(of: Callable[[T], Any]) -> list[FileColumn[T]]:
    """The rate row that priced something."""
    return [
        FileColumn("rate_id", lambda row: of(row).pk),
        FileColumn("rate_from", lambda row: of(row).holds_from),
        FileColumn("input_usd_per_million", lambda row: of(row).input_usd),
        FileColumn("output_usd_per_million", lambda row: of(row).output_usd),
        FileColumn("cache_hit_discount", lambda row: of(row).cache_hit_discount),
    ]


def _sums_of_line(line: Line) -> Sums:
    return Sums.of({name: getattr(line, name) for name in Sums.__dataclass_fields__})


def _of_balance(account: str) -> Callable[[Line], Decimal]:
    def value(line: Line) -> Decimal:
        balance = getattr(line, "balance", None)
        return Decimal(0) if balance is None else getattr(balance, account)

    return value


def _in_parts(found: QuerySet[Line]) -> Iterator[Line]:
    """The lines, a part at a time, each part a query of its own that is quick for the database."""
    ordered = found.select_related("rate", "org", "balance").order_by("-day", "-pk")
    last: Line | None = None
    while True:
        rest = ordered if last is None else ordered.filter(_after(last))
        part = list(rest[:_LINES_AT_ONCE])
        yield from part
        if len(part) < _LINES_AT_ONCE:
            return
        last = part[-1]


def _after(last: Line) -> Q:
    return Q(day__lte=last.day) & (Q(day__lt=last.day) | Q(pk__lt=last.pk))
