"""Totals of any set of receipts, and the same by time: the strip and the histogram, from one query of ClickHouse.

Both are cut at one moment (`as_of`), before which every receipt that was accepted is counted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.utils import timezone

from jatevo.metrics.last_good import LastGood, last_good
from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.queries import (
    NOT_FILLED,
    SearchConditions,
    SearchSums,
    first_accepted,
    search_origin,
    search_sums,
)
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import MetricsUnavailable, Transport
from jatevo.web.query_values import EARLIEST
from receipts.filters import ReceiptFilter
from receipts.search.as_of import Complete, completeness
from receipts.search.bars import Cut, cut
from receipts.search.conditions import MatchesNothing, accepted_before, conditions_of
from receipts.search.in_time import in_time
from receipts.slots import PAYMENT_STATES

FRESH_FOR: Final = timedelta(seconds=20)
ARRIVING_FRESH_FOR: Final = timedelta(seconds=4)  # the page asks every five
LOOK_SECONDS: Final = 0.1
NOTHING: Final = SearchSums(0, 0, 0, 0, 0, 0.0, Decimal(0))
_ALL_TIME: Final = 2**32  # seconds, as one cell


@dataclass(frozen=True)
class Paid:
    """The receipts in one payment state, and their fees."""

    receipts: int = 0
    fee_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Bar:
    """The receipts that were accepted from `start` until `end`. `by_payment` has the states in which there are any."""

    start: datetime
    end: datetime
    receipts: int
    by_payment: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """Sums of the receipts accepted before `as_of`, and of the same receipts by time.

    `cache_hit_rate` is from 0 to 1 and `p95_ms` the mean of the receipts' own p95. Both are None without receipts.
    Verdicts recorded before `judged_as_of` are in. `step` is the width of the bars in words.
    """

    as_of: datetime
    judged_as_of: datetime
    receipts: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    cache_hits: int = 0
    failures: int = 0
    p95_ms_sum: float = 0.0
    by_payment: Mapping[str, Paid] = field(default_factory=dict)
    step: str = ""
    bars: Sequence[Bar] = ()

    @property
    def cache_hit_rate(self) -> float | None:
        return self.cache_hits / self.receipts if self.receipts else None

    @property
    def p95_ms(self) -> float | None:
        return self.p95_ms_sum / self.receipts if self.receipts else None


@dataclass(frozen=True)
class Found:
    """Totals, or why there are none. `stale`: ClickHouse does not answer, and these are the last good ones.

    `filling`: the search is still being filled with receipts of the range, and `gap` says how far it is. `arriving`: there
    are receipts, but all of them are newer than the as-of.
    """

    totals: Totals | None
    stale: bool = False
    filling: bool = False
    arriving: bool = False
    gap: ReceiptGap | None = None


def totals_of(search: ReceiptFilter, user: object, *, at: datetime) -> Found:
    """The totals of what the person sees of a valid search. Days are those of the current time zone.

    Waits for ClickHouse as long as `patiently` does. The same question is answered from the cache for some seconds.
    """
    given = search.form.cleaned_data
    since = given["from"].start if given["from"] else None
    until = given["to"].end if given["to"] else None
    complete = completeness(at=at, since=since, until=until)
    if complete.gap is not None or not complete.origin:
        return Found(None, filling=True, gap=complete.gap)
    try:
        conditions = conditions_of(search, user)
    except MatchesNothing:
        return Found(_nothing(complete))
    zone = ZoneInfo(timezone.get_current_timezone_name())
    key = f"receipts:totals:1:{digest_of(conditions, complete.origin, zone.key)}"
    for fresh_for in (FRESH_FOR, ARRIVING_FRESH_FOR):
        asked: LastGood[Totals] = last_good(
            key,
            lambda: read_totals(conditions, complete, since=since, until=until, zone=zone),
            at=at,
            fresh_for=fresh_for,
        )
        if asked.value is None or asked.value.receipts or not _newer(search, asked.value.as_of):
            return Found(asked.value, stale=asked.stale)
    return Found(None, arriving=True)


def _newer(search: ReceiptFilter, as_of: datetime) -> bool:
    """Whether the search finds receipts that are newer. Then a total of 0 would look like a mistake."""
    newer = search.qs.filter(accepted_at__gte=as_of)
    return bool(in_time(newer.exists, seconds=LOOK_SECONDS))


def read_totals(
    conditions: SearchConditions,
    complete: Complete,
    *,
    since: datetime | None,
    until: datetime | None,
    zone: ZoneInfo,
) -> Totals:
    """The totals from ClickHouse. Queries no other store. Raises MetricsUnavailable."""
    store = filled_store(complete)
    settled = accepted_before(conditions, complete.as_of)
    start = since or first_accepted(store, settled)
    end = min(until, complete.as_of) if until else complete.as_of
    if start is None or start >= end:
        return _nothing(complete)
    bars = cut(start, end, zone)
    sums = search_sums(store, settled, first=bars.edges[0], cell_seconds=bars.cell_seconds, cells=bars.cells)
    return _added_up(complete, bars, sums, start, end)


def read_sums(conditions: SearchConditions, complete: Complete) -> SearchSums:
    """The sums of the same receipts alone. Queries no other store. Raises MetricsUnavailable."""
    store = filled_store(complete)
    settled = accepted_before(conditions, complete.as_of)
    sums = search_sums(store, settled, first=EARLIEST, cell_seconds=_ALL_TIME, cells=1)
    return sum(sums.values(), NOTHING)


def filled_store(complete: Complete) -> Transport:
    """The store, if it holds the filling that this is about. Raises MetricsUnavailable."""
    store = get_store()
    if search_origin(store) != complete.origin:
        raise MetricsUnavailable(NOT_FILLED)
    return store


def _added_up(
    complete: Complete, bars: Cut, sums: Mapping[tuple[int, str], SearchSums], start: datetime, end: datetime
) -> Totals:
    by_payment: dict[str, Paid] = {state: Paid() for state in PAYMENT_STATES}
    counts: list[dict[str, int]] = [{} for _ in bars.edges[1:]]
    total = NOTHING
    for (cell, payment), part in sums.items():
        of_bar = counts[bars.bar_of(cell)]
        of_bar[payment] = of_bar.get(payment, 0) + part.receipts
        known = by_payment[payment]
        by_payment[payment] = Paid(known.receipts + part.receipts, known.fee_usd + part.fee_usd)
        total = total + part
    return Totals(
        as_of=complete.as_of,
        judged_as_of=complete.judged_as_of,
        receipts=total.receipts,
        tokens_input=total.tokens_input,
        tokens_output=total.tokens_output,
        cache_hits=total.cache_hits,
        failures=total.failures,
        p95_ms_sum=total.p95_ms_sum,
        by_payment=by_payment,
        step=bars.width.label,
        bars=[
            Bar(max(first, start), min(last, end), sum(of_bar.values()), of_bar)
            for first, last, of_bar in zip(bars.edges, bars.edges[1:], counts, strict=False)
        ],
    )


def _nothing(complete: Complete) -> Totals:
    return Totals(
        complete.as_of, complete.judged_as_of, by_payment={state: Paid() for state in PAYMENT_STATES}
    )


def digest_of(conditions: SearchConditions, *more: str) -> str:
    """A key for what is remembered of a search, who may see what included."""
    said = repr((conditions.fixed, sorted(conditions.params.items()), conditions.payment, more))
    return hashlib.sha256(said.encode()).hexdigest()
