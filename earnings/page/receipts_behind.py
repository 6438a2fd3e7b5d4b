"""The receipts behind a figure: a page of them, and their sums, which equal the figure to the last digit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from earnings.figures.held import held_by_cause
from earnings.figures.items import item_sums, items
from earnings.figures.query import EarningsQuery
from earnings.figures.sums import Sums, sums_by_day, total
from earnings.figures.verdicts import newest_verdicts, sentence_of
from earnings.models import Item, Verdict, VerdictState
from jatevo.web.errors import ApiError
from jatevo.web.paging import KeysetPage, cursor_keys, keyset_page

PER_PAGE = 25
# Up to this many receipts are summed one by one. Beyond, the totals that are kept of them are shown.
MOST_SUMMED = 1_000


@dataclass(frozen=True)
class JudgedRow:
    """A receipt with the verdict that holds and its sentence."""

    item: Item
    verdict: Verdict | None
    sentence: str


@dataclass(frozen=True)
class ReceiptsBehind:
    """`sums` are those of all receipts that match. `singly`: they were summed receipt by receipt just now; else
    they are those that are kept of lines and of what is held.
    """

    page: KeysetPage[Item]
    rows: list[JudgedRow]
    sums: Sums
    singly: bool


def receipts_behind(query: EarningsQuery, cursor: str) -> ReceiptsBehind:
    """The receipts that the query opens, newest first. A cursor that is none of ours begins at the top."""
    found: Any = items(query.scope, state=query.state, rule=query.rule, cause=query.cause)
    by_day = sums_by_day(query.scope)
    whole = Sums.of_all(by_day.values())
    matching = _number(whole, query)
    if query.state == VerdictState.HELD and (query.rule or query.cause):
        sums, singly = _of_held(query), False
    elif matching <= MOST_SUMMED or query.rule or query.cause:
        sums, singly = item_sums(found), True
    else:
        sums, singly = _of_state(whole, query.state), False
    page = _page(query, found, by_day, cursor)
    return ReceiptsBehind(page=page, rows=judged(page.rows), sums=sums, singly=singly)


def _page(query: EarningsQuery, found: Any, by_day: Mapping[date, Sums], cursor: str) -> KeysetPage[Item]:
    """By when the request ended for one node or line, which an index has; else by day and then by acceptance."""
    of_one = query.scope.node_id is not None or query.scope.line_id is not None
    fields = ("-ts_end", "-receipt_id") if of_one else ("-day", "-receipt_id")
    slim = found.defer("sha256")
    after: date | datetime | None = None
    try:
        if cursor:
            after = cursor_keys(slim, cursor, [field.removeprefix("-") for field in fields])[0]
    except ApiError:
        cursor = ""
    if not (query.rule or query.cause):
        slim = slim.filter(day__gte=_first_day(query, by_day, after))
    return keyset_page(slim, cursor=cursor or None, limit=PER_PAGE, fields=fields)


def _first_day(query: EarningsQuery, by_day: Mapping[date, Sums], after: date | datetime | None) -> date:
    """The day that the page surely does not go back beyond, so that PostgreSQL need not look at older ones."""
    start = after.astimezone(UTC).date() if isinstance(after, datetime) else after
    known = 0
    for day in sorted(by_day, reverse=True):
        if start is None or day < start:  # how many of the cursor's own day are left is not known
            known += _number(by_day[day], query)
            if known > PER_PAGE:
                return day
    return date.min


def _number(of: Sums, query: EarningsQuery) -> int:
    """How many receipts have the query's state."""
    number: int = getattr(of, f"{query.state}_receipts") if query.state else of.receipts
    return number


def _of_held(query: EarningsQuery) -> Sums:
    """The sums of what is held for the query's rule and cause. Tokens are not known apart."""
    found = [
        each
        for each in held_by_cause(query.scope)
        if query.rule in ("", each.rule) and query.cause in ("", each.cause)
    ]
    receipts = sum(each.receipts for each in found)
    return Sums(receipts, held_receipts=receipts, held_usd=total(each.fees_usd for each in found))


def judged(rows: list[Item]) -> list[JudgedRow]:
    """The items with their verdicts, in one query."""
    verdicts = newest_verdicts((item.day, item.receipt_id) for item in rows)
    return [
        JudgedRow(item, verdict := verdicts.get(item.receipt_id), sentence_of(verdict) if verdict else "")
        for item in rows
    ]


def _of_state(whole: Sums, state: str) -> Sums:
    """The part of the sums that has the state. Tokens are not known apart."""
    if not state:
        return whole
    receipts, fees = f"{state}_receipts", f"{state}_usd"
    values: dict[str, Any] = {receipts: getattr(whole, receipts), fees: getattr(whole, fees)}
    if state == "payable":
        values["confirmed_usd"] = whole.confirmed_usd
    return Sums(receipts=getattr(whole, receipts), **values)
