"""The Overview's charts as numbers: shades, segments, cells and bars. Pure; templates only place them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from math import log10

from jatevo.overview.history import HourPoint, RegionHours
from jatevo.overview.kpis import Region
from jatevo.web.templatetags.numbers import short

SHADES = 5
# Milliseconds from which on the next shade begins; 2,000 is where latency begins to cost reputation.
P95_STEPS = (250.0, 500.0, 1000.0, 2000.0)


class Heat(StrEnum):
    """What the heatmap shows."""

    P95 = "p95"
    REQUESTS = "requests"

    @property
    def label(self) -> str:
        return {"p95": "p95", "requests": "Requests"}[self.value]


@dataclass(frozen=True)
class Shade:
    """One step of a legend: `number` 1 (lightest) to SHADES, and the range in words."""

    number: int
    words: str


@dataclass(frozen=True)
class Segment:
    """A region's part of the bar, in percent of its width. `shade` 0 is not known, `unknown` says why."""

    region: Region
    x: float
    width: float
    shade: int
    url: str
    unknown: str


@dataclass(frozen=True)
class Cell:
    """An hour of a region: the text in it, what it says in full, and its shade (0: not known)."""

    text: str
    title: str
    shade: int


@dataclass(frozen=True)
class Line:
    """A region of the heatmap."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class Heatmap:
    """`hours` head the columns: the hour of the day (UTC), every third one for narrow places."""

    heat: Heat
    hours: list[datetime]
    lines: list[Line]
    legend: list[Shade]


@dataclass(frozen=True)
class Bar:
    """An hour of a trend in a box of WIDTH by HEIGHT; `parts` are (y, height), from the ground up."""

    x: float
    parts: list[tuple[float, float]]
    title: str
    running: bool
    known: bool


@dataclass(frozen=True)
class Trend:
    """24 hours as bars. `total` counts from the first known hour, `since`; None if there is none.

    `partial`: an hour after that is not known. `top` is the highest bar.
    """

    bars: list[Bar]
    total: int | None
    since: datetime | None
    partial: bool
    top: int
    hours: list[datetime]


TREND_WIDTH, TREND_HEIGHT, _GAP = 240.0, 64.0, 0.2


def segments(regions: Sequence[Region], urls: Sequence[str], unknown: Sequence[str]) -> list[Segment]:
    """Each region's share of the active nodes, shaded by its p95; `unknown` says why one has none."""
    total = sum(region.nodes for region in regions) or 1
    found, x = [], 0.0
    for region, url, why in zip(regions, urls, unknown, strict=True):
        width = 100 * region.nodes / total
        found.append(Segment(region, round(x, 3), round(width, 3), shade_of_p95(region.p95_ms), url, why))
        x += width
    return found


def shade_of_p95(p95_ms: float | None) -> int:
    """1 to SHADES by P95_STEPS; 0 for None."""
    return 0 if p95_ms is None else 1 + sum(p95_ms >= step for step in P95_STEPS)


def p95_legend() -> list[Shade]:
    bounds = [f"{step:,.0f}" for step in P95_STEPS]
    ranges = [f"{low} to {high}" for low, high in pairwise(bounds)]
    words = [f"under {bounds[0]} ms", *(f"{each} ms" for each in ranges), f"{bounds[-1]} ms or more"]
    return [Shade(number, text) for number, text in enumerate(words, 1)]


def heatmap(regions: Sequence[RegionHours], heat: Heat) -> Heatmap:
    """Regions by hours. Requests are shaded by fifths of a round number above the busiest hour."""
    hours = [point.hour for point in regions[0].hours] if regions else []
    if heat is Heat.P95:
        lines = [Line(each.name, [_p95_cell(point) for point in each.hours]) for each in regions]
        return Heatmap(heat, hours, lines, p95_legend())
    top = _round_above(max((point.requests or 0 for each in regions for point in each.hours), default=0))
    lines = [Line(each.name, [_requests_cell(point, top) for point in each.hours]) for each in regions]
    fifth = top / SHADES
    legend = [
        Shade(number, f"{short(fifth * (number - 1))} to {short(fifth * number)}")
        for number in range(1, SHADES + 1)
    ]
    return Heatmap(heat, hours, lines, legend)


def trend(points: Sequence[HourPoint], *names: str, unit: str) -> Trend:
    """The named counts of each hour, stacked in that order."""
    stacks = [[getattr(point, name) for name in names] for point in points]
    sums = [sum(stack) if None not in stack else None for stack in stacks]
    known = [each for each in sums if each is not None]
    top = max(known, default=0)
    step = TREND_WIDTH / max(len(points), 1)
    bars = []
    for number, (point, stack, total) in enumerate(zip(points, stacks, sums, strict=True)):
        ground, parts = TREND_HEIGHT, []
        for count in stack if total is not None else ():
            height = TREND_HEIGHT * count / top if top else 0.0
            ground -= height
            parts.append((round(ground, 2), round(height, 2)))
        when = f"{point.hour:%H:%M} UTC"
        said = "not known" if total is None else f"{total:,} {unit}"
        title = f"{when}: {said}{' so far' if point.running and total is not None else ''}"
        bars.append(Bar(round(number * step, 2), parts, title, point.running, total is not None))
    first = next((number for number, each in enumerate(sums) if each is not None), None)
    since = None if first is None else points[first].hour
    partial = None in sums[first:]
    return Trend(bars, sum(known) if known else None, since, partial, top, [point.hour for point in points])


def bar_width(count: int) -> float:
    """The width of one of so many bars."""
    return round(TREND_WIDTH / max(count, 1) * (1 - _GAP), 2)


def _p95_cell(point: HourPoint) -> Cell:
    when = f"{point.hour:%H:%M} UTC"
    if point.p95_ms is None:
        return Cell("·", f"{when}: p95 not known", 0)
    return Cell(short(point.p95_ms), f"{when}: p95 {point.p95_ms:,.0f} ms", shade_of_p95(point.p95_ms))


def _requests_cell(point: HourPoint, top: float) -> Cell:
    when = f"{point.hour:%H:%M} UTC"
    if point.requests is None:
        return Cell("·", f"{when}: requests not known", 0)
    shade = min(SHADES, 1 + int(SHADES * point.requests / top)) if top else 1
    running = " so far" if point.running else ""
    return Cell(short(point.requests), f"{when}: {point.requests:,} requests{running}", shade)


def _round_above(value: float) -> float:
    """The next of 5, 10, 25, 50, 100, 250 …, so that a legend has round numbers."""
    if value <= 5:
        return 5
    scale = 10 ** int(log10(value))
    return next(factor * scale for factor in (1, 2.5, 5, 10) if factor * scale >= value)
