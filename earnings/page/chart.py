"""The chart of earnings over time: stacked bars as SVG, the same data for uPlot, and the same as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from earnings.figures.query import EarningsQuery
from earnings.figures.series import By, Point, Series, Step, TooManyReceipts, merged, series
from earnings.figures.sums import total
from earnings.page.shared import SharedReads
from jatevo.accounts.models import Org
from jatevo.web.json import dump
from jatevo.web.templatetags.money import usd_words

WIDTH, HEIGHT = 600, 160
MOST_SERIES = 5  # one for each colour; the rest are one together
# One tone for each part, from the bottom up. `held` lies on top.
TONES = ("text-primary", "text-ok", "text-info", "text-warn", "text-idle")
OTHERS_TONE, HELD_TONE = "text-muted", "text-bad"
_HATCHED = "held"


@dataclass(frozen=True)
class Bar:
    """One part of one bar, in the box of WIDTH by HEIGHT."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Part:
    """One colour of the chart: fees of one node, model or organisation, of the others, or what is held."""

    key: str
    label: str
    tone: str
    amounts: Sequence[Decimal | None]
    bars: Sequence[Bar]
    hatched: bool = False

    @property
    def total_usd(self) -> Decimal:
        return total(amount for amount in self.amounts if amount is not None)

    @property
    def path(self) -> str:
        """The bars as the data of one SVG path, because a template takes long to write hundreds of elements."""
        return "".join(
            f"M{bar.x:g} {bar.y:g}h{bar.width:g}v{bar.height:g}h{-bar.width:g}z" for bar in self.bars
        )


@dataclass(frozen=True)
class Row:
    """A step as a row of the table."""

    when: str
    running: bool
    amounts: Sequence[Decimal | None]
    unknown: bool


@dataclass(frozen=True)
class EarningsChart:
    """`parts` is empty if there is nothing to draw. `refused`: there are too many receipts for hours."""

    step: Step
    parts: Sequence[Part]
    rows: Sequence[Row]
    since: datetime | None = None
    until: datetime | None = None
    top_usd: Decimal = Decimal(0)
    data: str = "[]"
    words: str = "[]"
    refused: bool = False
    unknown: Sequence[Bar] = ()
    ends: tuple[str, str] = ("", "")
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def middle_usd(self) -> Decimal:
        return self.top_usd / 2


def chart_of(query: EarningsQuery, read: SharedReads) -> EarningsChart:
    """The chart of the query's days, cut by its step and split by its `by`."""
    try:
        found = series(
            query.scope,
            query.step,
            query.by,
            first=query.first,
            last=query.last,
            at=read.at,
            judged_until=read.judged,
            since=read.since,
            of_days=read.days,
        )
    except TooManyReceipts:
        return EarningsChart(query.step, (), (), refused=True)
    if not found or not found[0].points:
        return EarningsChart(query.step, (), ())
    return _drawn(query.step, _labelled(found, query.by), merged(found, ""))


def _labelled(found: Sequence[Series], by: By) -> list[tuple[str, str, Series]]:
    """The series that have a colour of their own, each with its tone, and the rest as one."""
    names = dict(Org.objects.values_list("pk", "name")) if by is By.ORG else {}
    words = {str(key): name for key, name in names.items()}
    shown = list(found[:MOST_SERIES])
    parts = [
        (words.get(each.key, each.key) if by is not By.ALL else "Fees", tone, each)
        for each, tone in zip(shown, TONES, strict=False)
    ]
    if rest := found[MOST_SERIES:]:
        parts.append((f"{len(rest)} other{'s' if len(rest) != 1 else ''}", OTHERS_TONE, merged(rest, "")))
    return parts


def _drawn(step: Step, parts: list[tuple[str, str, Series]], whole: Series) -> EarningsChart:
    points = whole.points
    held = [point.held_usd for point in points]
    columns = [
        (label, tone, [point.fees_usd for point in each.points], each.key) for label, tone, each in parts
    ]
    heights = [
        total(amount for amount in (*(column[2][place] for column in columns), held[place]) if amount)
        for place in range(len(points))
    ]
    top = _round_top(max(heights, default=Decimal(0)))
    since, until = points[0].start, points[-1].end
    boxes = [_box(point, since, until) for point in points]
    base = [Decimal(0)] * len(points)
    drawn = []
    for label, tone, amounts, key in columns:
        drawn.append(Part(key, label, tone, amounts, _stack(boxes, amounts, base, top)))
    if any(held):
        bars = _stack(boxes, held, base, top)
        drawn.append(Part(_HATCHED, "Held", HELD_TONE, held, bars, hatched=True))
    return EarningsChart(
        step=step,
        parts=drawn,
        rows=[
            Row(
                _when(step, point),
                point.running,
                [part.amounts[place] for part in drawn],
                point.fees_usd is None,
            )
            for place, point in reversed(list(enumerate(points)))
        ],
        since=since,
        until=until,
        top_usd=top,
        data=_data(points, drawn),
        words=dump([_words(step, point, drawn, place) for place, point in enumerate(points)]).decode(),
        unknown=[box for box, point in zip(boxes, points, strict=True) if point.fees_usd is None],
        ends=(_when(step, points[0]), _when(step, points[-1])),
    )


def _stack(
    boxes: Sequence[Bar], amounts: Sequence[Decimal | None], base: list[Decimal], top: Decimal
) -> list[Bar]:
    """The bars of one part on top of `base`, which grows by them. `boxes` are the steps' whole heights."""
    bars = []
    for place, (box, amount) in enumerate(zip(boxes, amounts, strict=True)):
        if not amount:
            continue
        gap = min(1.0, box.width / 6)
        height = HEIGHT * float(amount / top)
        y = HEIGHT - HEIGHT * float(base[place] / top) - height
        bars.append(Bar(round(box.x + gap, 2), round(y, 2), round(box.width - 2 * gap, 2), round(height, 2)))
        base[place] += amount
    return bars


def _box(point: Point, since: datetime, until: datetime) -> Bar:
    whole = until - since
    x = WIDTH * ((point.start - since) / whole)
    return Bar(round(x, 2), 0, round(WIDTH * ((point.end - point.start) / whole), 2), HEIGHT)


def _round_top(highest: Decimal) -> Decimal:
    """The top of the axis: the first of 1, 1.5, 2, 3 … times a power of ten that is not below the highest bar."""
    if highest <= 0:
        return Decimal(1)
    magnitude = Decimal(1).scaleb(highest.adjusted())
    steps = (Decimal(each) for each in ("1", "1.5", "2", "3", "4", "5", "6", "8", "10"))
    return next(step * magnitude for step in steps if step * magnitude >= highest)


def _when(step: Step, point: Point) -> str:
    """The step's start in UTC, as a label."""
    if step is Step.HOUR:
        return f"{point.start:%-d %b, %H:%M}"
    return f"{point.start:%B %Y}" if step is Step.MONTH else f"{point.start:%-d %b %Y}"


def _words(step: Step, point: Point, parts: Sequence[Part], place: int) -> str:
    """A step in words, for those who read the chart point by point."""
    when = f"{_when(step, point)} UTC" if step is Step.HOUR else _when(step, point)
    if step is Step.WEEK:
        when = f"Week from {when}"
    running = " (running)" if point.running else ""
    if point.fees_usd is None:
        return f"{when}{running}: not known"
    amounts = ", ".join(f"{part.label} {usd_words(part.amounts[place])}" for part in parts)
    return f"{when}{running}: {amounts}"


def _data(points: Sequence[Point], parts: Sequence[Part]) -> str:
    """Columns for uPlot: unix seconds of the step's start, then each part's amounts as numbers for drawing."""
    return dump(
        [
            [int(point.start.timestamp()) for point in points],
            *([None if amount is None else float(amount) for amount in part.amounts] for part in parts),
        ]
    ).decode()
