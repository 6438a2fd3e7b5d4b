"""Receipts as a file: each with its price, its verdict and its SHA-256, also after the receipt itself is gone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from django.db.models import QuerySet

from earnings.exports.tables import rate_columns
from earnings.figures.items import items
from earnings.figures.query import EarningsQuery
from earnings.figures.sums import lines
from earnings.figures.verdicts import newest_verdicts
from earnings.models import Item, Rate, Verdict
from jatevo.web.export_table import ExportTable, FileColumn

_AT_ONCE = 2000


@dataclass(frozen=True)
class JudgedItem:
    """An item and the verdict that holds."""

    item: Item
    verdict: Verdict


def receipts(query: EarningsQuery, *, zone_name: str) -> ExportTable[JudgedItem]:
    """The receipts that the query opens, newest day first: the same as on the page, and they sum to its figures."""
    rates = {rate.pk: rate for rate in Rate.objects.all()}
    columns: list[FileColumn[JudgedItem]] = [
        FileColumn("day", lambda row: row.item.day),
        FileColumn("node_id", lambda row: row.item.node_id),
        FileColumn("request_id", lambda row: row.item.request_id),
        FileColumn("model", lambda row: row.item.model),
        FileColumn("started_at", lambda row: row.item.ts_start),
        FileColumn("ended_at", lambda row: row.item.ts_end),
        FileColumn("accepted_at", lambda row: row.item.accepted_at),
        FileColumn("time_zone", lambda row: zone_name),
        FileColumn("tokens_input", lambda row: row.item.tokens_input),
        FileColumn("tokens_output", lambda row: row.item.tokens_output),
        FileColumn("cache_hit", lambda row: row.item.cache_hit),
        FileColumn("hedged", lambda row: row.item.hedged),
        FileColumn("failed", lambda row: row.item.failed),
        *rate_columns(lambda row: rates[row.item.rate_id]),
        FileColumn("fee_usd", lambda row: row.item.fee_usd),
        FileColumn("state", lambda row: row.verdict.state),
        FileColumn("rule", lambda row: row.verdict.rule),
        FileColumn("cause", lambda row: row.verdict.cause),
        FileColumn("confirmed", lambda row: row.verdict.confirmed),
        FileColumn("decided_by", lambda row: "admin" if row.verdict.actor else "rules"),
        FileColumn("reason", lambda row: row.verdict.reason),
        FileColumn("sha256", lambda row: bytes(row.item.sha256).hex()),
    ]
    return ExportTable(columns, _rows(query))


def _rows(query: EarningsQuery) -> Iterator[JudgedItem]:
    """Day by day, so that no query sorts more than one day, and memory holds one part of it."""
    behind = lines(query.scope).order_by("-day").values_list("day", flat=True).distinct()
    for day in list(behind):
        yield from _of_day(query, day)


def _of_day(query: EarningsQuery, day: date) -> Iterator[JudgedItem]:
    found = _found(query, day)
    last: int | None = None
    while True:
        rest = found if last is None else found.filter(receipt_id__lt=last)
        part = list(rest.order_by("-receipt_id")[:_AT_ONCE])
        verdicts = newest_verdicts((day, item.receipt_id) for item in part)
        for item in part:
            yield JudgedItem(item, verdicts[item.receipt_id])
        if len(part) < _AT_ONCE:
            return
        last = part[-1].receipt_id


def _found(query: EarningsQuery, day: date) -> QuerySet[Item]:
    """The day's items. Only a filter of verdicts needs the verdict of each."""
    of_day = query.scope.within(day, day)
    if query.state or query.rule or query.cause:
        return items(of_day, state=query.state, rule=query.rule, cause=query.cause)
    return Item.objects.filter(day=day, line__in=lines(of_day).values("pk"))
