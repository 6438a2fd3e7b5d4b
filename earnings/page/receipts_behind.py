"""The receipts behind a figure: a page of them, and their sums, which equal the figure to the last digit."""

from dataclasses import dataclass
from typing import Any

from earnings.figures.items import item_sums, items
from earnings.figures.query import EarningsQuery
from earnings.figures.sums import Sums, sums
from earnings.figures.verdicts import newest_verdicts, sentence_of
from earnings.models import Item, Verdict
from jatevo.web.errors import ApiError
from jatevo.web.paging import KeysetPage, keyset_page

PER_PAGE = 25
# Up to this many receipts are summed one by one. Beyond, the sums of their lines are shown.
MOST_SUMMED = 10_000


@dataclass(frozen=True)
class JudgedRow:
    """A receipt with the verdict that holds and its sentence."""

    item: Item
    verdict: Verdict | None
    sentence: str


@dataclass(frozen=True)
class ReceiptsBehind:
    """`sums` are those of all receipts that match. `singly`: they were summed receipt by receipt just now; else
    they are those of the receipts' lines.
    """

    page: KeysetPage[Item]
    rows: list[JudgedRow]
    sums: Sums
    singly: bool


def receipts_behind(query: EarningsQuery, cursor: str) -> ReceiptsBehind:
    """The receipts that the query opens, newest first. A cursor that is none of ours begins at the top."""
    found: Any = items(query.scope, state=query.state, rule=query.rule, cause=query.cause)
    fields = ("-day", "-receipt_id")
    slim = found.defer("sha256")
    try:
        page = keyset_page(slim, cursor=cursor or None, limit=PER_PAGE, fields=fields)
    except ApiError:
        page = keyset_page(slim, cursor=None, limit=PER_PAGE, fields=fields)
    of_lines = sums(query.scope)
    matching = getattr(of_lines, f"{query.state}_receipts") if query.state else of_lines.receipts
    singly = matching <= MOST_SUMMED or bool(query.rule or query.cause)
    return ReceiptsBehind(
        page=page,
        rows=judged(page.rows),
        sums=item_sums(found) if singly else _of_state(of_lines, query.state),
        singly=singly,
    )


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
