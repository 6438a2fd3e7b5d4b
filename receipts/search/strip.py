"""The totals above the list as the page shows them: figures, fees by payment state, and the histogram as SVG."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.http import QueryDict
from django.utils import timezone

from jatevo.web.figures import Figure, Knowledge
from jatevo.web.templatetags.moments import offset
from jatevo.web.templatetags.numbers import count
from jatevo.web.templatetags.tones import CHIPS, Chip
from receipts.ranges import with_changes
from receipts.search.totals import Bar, Found, Totals

WIDTH: Final = 600
HEIGHT: Final = 100
BEHIND: Final = timedelta(seconds=30)  # verdicts are this late before the page says so
_DAY: Final = timedelta(days=1)
_ORDER: Final = ("payable", "held", "excluded", "pending")
NO_ANSWER: Final = "The metrics store does not answer."
ARRIVING: Final = "These receipts have just arrived. Their totals follow in a few seconds."


@dataclass(frozen=True)
class PaidPart:
    """The receipts in one payment state. `fee_usd` is None where it is not known, or not for this reader."""

    chip: Chip
    receipts: int
    fee_usd: Decimal | None
    url: str


@dataclass(frozen=True)
class DrawnBar:
    """A bar in the box of WIDTH by HEIGHT. `url` is the same search within its time."""

    x: float
    width: float
    shown_x: float
    shown_width: float
    y: float
    height: float
    words: str
    when: str
    receipts: int
    url: str
    first: str
    until: str


@dataclass(frozen=True)
class Strip:
    """All that the template shows. Figures are stale or unknown together, with one reason."""

    as_of: datetime
    receipts: Figure
    tokens_input: Figure
    tokens_output: Figure
    cache_hit_rate: Figure
    failures: Figure
    p95_ms: Figure
    parts: Sequence[PaidPart]
    bars: Sequence[DrawnBar]
    step: str
    top: int
    ends: tuple[str, str]
    judged_as_of: datetime | None  # set if verdicts are behind
    stale: bool
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def newest_first(self) -> Sequence[DrawnBar]:
        return self.bars[::-1]

    @property
    def digest(self) -> str:
        """Differs when the bars do, so that a refresh draws them anew."""
        drawn = "".join(f"{bar.first} {bar.until} {bar.receipts}\n" for bar in self.bars)
        return hashlib.sha256(drawn.encode()).hexdigest()[:16]


def strip_of(found: Found, query: QueryDict, path: str, *, at: datetime, with_fees: bool) -> Strip:
    """The strip of a tidy search. Without totals, every figure is unknown and says why."""
    totals = found.totals
    if totals is None:
        return _unknown(found, at=at)

    def figure(value: float | None) -> Figure:
        known = Figure.of(value, as_of=totals.as_of, if_none="No receipts")
        return known.aged(NO_ANSWER) if found.stale else known

    bars = [_drawn(bar, totals, query, path) for bar in totals.bars]
    return Strip(
        as_of=totals.as_of,
        receipts=figure(totals.receipts),
        tokens_input=figure(totals.tokens_input),
        tokens_output=figure(totals.tokens_output),
        cache_hit_rate=figure(totals.cache_hit_rate),
        failures=figure(totals.failures),
        p95_ms=figure(totals.p95_ms),
        parts=[_part(state, totals, query, path, with_fees) for state in _ORDER],
        bars=bars,
        step=totals.step,
        top=_top(totals),
        ends=(_moment(totals.bars[0].start), _moment(totals.bars[-1].end)) if bars else ("", ""),
        judged_as_of=totals.judged_as_of if totals.as_of - totals.judged_as_of > BEHIND else None,
        stale=found.stale,
    )


def _unknown(found: Found, *, at: datetime) -> Strip:
    reason = _why_unknown(found)
    nothing = Figure(None, at, Knowledge.UNKNOWN, reason)
    return Strip(at, *(nothing,) * 6, (), (), "", 0, ("", ""), None, False)


def _why_unknown(found: Found) -> str:
    if found.arriving:
        return ARRIVING
    return filling_words(found) if found.filling else NO_ANSWER


def filling_words(found: Found) -> str:
    """How far the search is filled."""
    gap = found.gap
    if gap is None or not gap.filled:
        return "The totals are being prepared from the database."
    until = timezone.localtime(gap.until_at)
    return f"The totals are being prepared: {count(gap.filled)} receipts, back to {until:%-d %b %Y, %H:%M}, are done."


def _part(state: str, totals: Totals, query: QueryDict, path: str, with_fees: bool) -> PaidPart:
    paid = totals.by_payment[state]
    fee = paid.fee_usd if with_fees and state != "pending" else None
    return PaidPart(CHIPS[state], paid.receipts, fee, with_changes(query, path, {"payment": state}))


def _top(totals: Totals) -> int:
    return max((bar.receipts for bar in totals.bars), default=0)


def _drawn(bar: Bar, totals: Totals, query: QueryDict, path: str) -> DrawnBar:
    since, until = totals.bars[0].start, totals.bars[-1].end
    x, end = (WIDTH * ((moment - since) / (until - since)) for moment in (bar.start, bar.end))
    # a bar that is there can be seen, however high the highest is
    height = max(1.5, HEIGHT * bar.receipts / _top(totals)) if bar.receipts else 0
    gap = min(0.75, (end - x) / 6)
    first, last = _instant(bar.start), _instant(bar.end)
    when = _span(bar, totals)
    return DrawnBar(
        x=round(x, 2),
        width=round(end - x, 2),
        shown_x=round(x + gap, 2),
        shown_width=round(end - x - 2 * gap, 2),
        y=round(HEIGHT - height, 2),
        height=round(height, 2),
        words=f"{when}: {count(bar.receipts)} receipt{'' if bar.receipts == 1 else 's'}",
        when=when,
        receipts=bar.receipts,
        url=with_changes(query, path, {"from": first, "to": last}),
        first=first,
        until=last,
    )


def _span(bar: Bar, totals: Totals) -> str:
    """The bar's time in words, in the current time zone: a day, a part of one, or a span of days."""
    start, end = timezone.localtime(bar.start), timezone.localtime(bar.end)
    if start.date() == end.date():
        clock = "%H:%M:%S" if start.second or end.second else "%H:%M"
        return f"{start:%-d %b %Y}, {start:{clock}} to {end:{clock}} {offset(start)}"
    if (start.hour, start.minute, end.hour, end.minute) == (0, 0, 0, 0):
        last = end - timedelta(hours=1)
        return (
            f"{start:%-d %b %Y}" if start.date() == last.date() else f"{start:%-d %b %Y} to {last:%-d %b %Y}"
        )
    return f"{_moment(start)} to {_moment(end)}"


def _moment(moment: datetime) -> str:
    local = timezone.localtime(moment)
    return f"{local:%-d %b %Y, %H:%M} {offset(local)}"


def _instant(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat()
    return text.replace("+00:00", "Z")
