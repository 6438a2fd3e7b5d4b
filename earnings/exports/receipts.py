"""Receipts as a file: each with its price, its verdict and its SHA-256, also after the receipt itself is gone."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from django.db.models import OuterRef, Subquery

from earnings.exports.table import ExportTable, FileColumn
from earnings.exports.tables import rate_columns
from earnings.figures.items import items
from earnings.figures.query import EarningsQuery
from earnings.figures.sums import lines
from earnings.models import Rate, Verdict

_AT_ONCE = 2000


def receipts(query: EarningsQuery, *, zone_name: str) -> ExportTable[Any]:
    """The receipts that the query opens, newest day first: the same as on the page, and they sum to its figures."""
    rates = {rate.pk: rate for rate in Rate.objects.all()}
    columns: list[FileColumn[Any]] = [
        FileColumn("day", lambda item: item.day),
        FileColumn("node_id", lambda item: item.node_id),
        FileColumn("request_id", lambda item: item.request_id),
        FileColumn("model", lambda item: item.model),
        FileColumn("started_at", lambda item: item.ts_start),
        FileColumn("ended_at", lambda item: item.ts_end),
        FileColumn("accepted_at", lambda item: item.accepted_at),
        FileColumn("time_zone", lambda item: zone_name),
        FileColumn("tokens_input", lambda item: item.tokens_input),
        FileColumn("tokens_output", lambda item: item.tokens_output),
        FileColumn("cache_hit", lambda item: item.cache_hit),
        FileColumn("hedged", lambda item: item.hedged),
        FileColumn("failed", lambda item: item.failed),
        *rate_columns(lambda item: rates[item.rate_id]),
        FileColumn("fee_usd", lambda item: item.fee_usd),
        FileColumn("state", lambda item: item.state),
        FileColumn("rule", lambda item: item.rule),
        FileColumn("cause", lambda item: item.cause),
        FileColumn("confirmed", lambda item: item.confirmed),
        FileColumn("decided_by", lambda item: "admin" if item.decided_by else "rules"),
        FileColumn("reason", lambda item: item.reason),
        FileColumn("sha256", lambda item: bytes(item.sha256).hex()),
    ]
    return ExportTable(columns, _rows(query))


def _rows(query: EarningsQuery) -> Iterator[Any]:
    """Day by day, so that no query sorts more than one day, and memory holds one part of it."""
    behind = lines(query.scope).order_by("-day").values_list("day", flat=True).distinct()
    for day in list(behind):
        yield from _of_day(query, day)


def _of_day(query: EarningsQuery, day: date) -> Iterator[Any]:
    newest = Verdict.objects.filter(day=OuterRef("day"), receipt_id=OuterRef("receipt_id")).order_by("-id")
    found = items(
        query.scope.within(day, day), state=query.state, rule=query.rule, cause=query.cause
    ).annotate(decided_by=Subquery(newest.values("actor")[:1]), reason=Subquery(newest.values("reason")[:1]))
    last: int | None = None
    while True:
        rest = found if last is None else found.filter(receipt_id__lt=last)
        part = list(rest.order_by("-receipt_id")[:_AT_ONCE])
        yield from part
        if len(part) < _AT_ONCE:
            return
        last = part[-1].receipt_id
