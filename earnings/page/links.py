"""Where figures lead, and what is said beside them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from earnings.figures.periods import Period
from earnings.figures.query import EarningsQuery
from earnings.figures.sums import Sums
from earnings.page.node_rows import COLUMNS, EarnerRow
from earnings.page.summary import Summary
from jatevo.web.routes import path_to
from jatevo.web.templatetags.money import usd_words

_STATES = ("payable", "held", "excluded")
_STATE_OF = {"fees": "payable", "held": "held", "excluded": "excluded"}  # by column: the receipts behind it


def receipts_url(query: EarningsQuery, **changes: str | date | None) -> str:
    """The receipts behind a figure. A chart's step and split are no part of it; the days always are."""
    days = {"from_": query.first, "to": query.last, "step": None, "by": None}
    return f"{path_to('earnings:receipts')}{query.suffix(**{**days, **changes})}"


def summary_links(query: EarningsQuery, summary: Summary) -> dict[str, Any]:
    """Links of the figures at the top, and the words below them."""
    month = summary.month
    sums = summary.sums
    links = _by_state(query, sums)
    links["month"] = receipts_url(query, state="payable", from_=month.start, to=month.end)
    days = f"{query.days} day{'s' if query.days != 1 else ''}"
    hints = {
        "fees": f"{days}. To date {usd_words(summary.to_date.value)}",
        "held": _receipts(sums.held_receipts, "waiting"),
        "excluded": _receipts(sums.excluded_receipts, "not paid"),
        "paid_out": f"{usd_words(summary.carried_usd)} carried to the next"
        if summary.carried_usd
        else "In export files",
        "month": f"{month.start:%B %Y} (UTC), running",
        "confirmed": _confirmed(summary),
    }
    return {
        "links": links,
        "hints": hints,
        "missing_words": usd_words(summary.next_payout.missing_to_show),
        "held_links": [
            {"line": line, "url": receipts_url(query, state="held", rule=line.rule, cause=line.cause)}
            for line in summary.held_lines
        ],
    }


Cells = Sequence[tuple[Decimal | int | None, str]]  # numbers of a table, each with where it leads


def day_cells(query: EarningsQuery, periods: Iterable[Period]) -> list[tuple[Period, Cells, Cells]]:
    """The periods, each with its cells before and after the estimate."""
    found: list[tuple[Period, Cells, Cells]] = []
    for period in periods:
        sums, days = period.sums, {"from_": period.start, "to": period.end}
        links = _by_state(query, sums, **days)
        earned = (
            (sums.receipts, receipts_of_days(query, period)),
            (sums.fees_usd, links["payable"]),
            (sums.unconfirmed_usd, ""),
        )
        not_paid = ((sums.held_usd, links["held"]), (sums.excluded_usd, links["excluded"]))
        found.append((period, earned, not_paid))
    return found


def receipts_of_days(query: EarningsQuery, period: Period) -> str:
    """The receipts of the period, '' where it has none."""
    return receipts_url(query, from_=period.start, to=period.end) if period.sums.receipts else ""


def earner_cells(query: EarningsQuery, rows: Iterable[EarnerRow]) -> list[tuple[EarnerRow, str, Cells]]:
    """The rows, each with the link to its own page and its cells."""
    found = []
    for row in rows:
        narrowed = {"node" if row.node else "org": row.key}
        found.append((row, query.suffix(**narrowed), cells_of(row, _by_state(query, row.sums, **narrowed))))
    return found


def cells_of(row: EarnerRow, links: Mapping[str, str] | None = None) -> Cells:
    """The cells in the order of the columns of node_rows.py, after the name."""
    links = links or {}
    return [(column.value(row), links.get(_STATE_OF.get(column.key, ""), "")) for column in COLUMNS[1:]]


def _by_state(query: EarningsQuery, sums: Sums, **changes: str | date) -> dict[str, str]:
    """The payable, held and excluded receipts, '' where there are none."""
    every = receipts_url(query, state=None, **changes)  # which always names the days
    return {
        state: f"{every}&state={state}" if getattr(sums, f"{state}_receipts") else "" for state in _STATES
    }


def _receipts(number: int, words: str) -> str:
    return f"{number:,} receipt{'s' if number != 1 else ''} {words}"


def _confirmed(summary: Summary) -> str:
    """Which part of the fees rests on the node's word alone."""
    sums = summary.sums
    if not summary.known or not sums.fees_usd:
        return ""
    if not sums.unconfirmed_usd:
        return f"A gateway confirms all of the fees of {usd_words(sums.fees_usd)}."
    if not sums.confirmed_usd:
        return f"No gateway confirms any of the fees of {usd_words(sums.fees_usd)}."
    return (
        f"Of the fees of {usd_words(sums.fees_usd)}, no gateway confirms {usd_words(sums.unconfirmed_usd)}."
    )
