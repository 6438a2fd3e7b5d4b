"""The numbers of the Overview's charts: shades, segments, cells and bars.

Pure; templates only insert them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jatevo.overview.history import HourPoint, RegionHours
from jatevo.overview.kpis import OTHER_REGIONS, Region
from jatevo.overview.shades import Scale, Shade, scale_over
from jatevo.web.templatetags.numbers import milliseconds, short
from jatevo.web.time_zones import clock_words, current_zone_words

# The width of the bar on a 360 px phone and on a desktop, and of a letter of its labels, in pixels.
_NARROW_BAR, _WIDE_BAR, _LETTER, _LABEL_MARGIN = 290.0, 600.0, 7.0, 12.0


class Heat(StrEnum):
    """The figure that the heatmap shows."""

    P95 = "p95"
    REQUESTS = "requests"

    @property
    def label(self) -> str:
        return {"p95": "p95", "requests": "Requests"}[self.value]


class Room(StrEnum):
    """On which screens a segment has room for a label."""

    ALL = "all"
    WIDE = "wide"
    NONE = "none"


@dataclass(frozen=True)
class Label:
    """A text in a segment, and on which screens there is room for it. The table below has all texts."""

    words: str
    room: Room


@dataclass(frozen=True)
class Segment:
    """A region's part of the bar, in percent of its width. `shade` 0 is unknown, and `unknown` says why."""

    region: Region
    x: float
    width: float
    shade: int
    url: str
    unknown: str
    name: Label
    value: Label


@dataclass(frozen=True)
class RegionBar:
    """The bar and its legend, whose steps follow the regions that are shown."""

    segments: list[Segment]
    legend: list[Shade]


@dataclass(frozen=True)
class HeatCell:
    """An hour of a region: its text, its full description, and its shade (0: unknown)."""

    text: str
    title: str
    shade: int


@dataclass(frozen=True)
class HeatRow:
    """The row of a region in the heatmap."""

    name: str
    cells: list[HeatCell]


@dataclass(frozen=True)
class Heatmap:
    """`hours` are the headings of the columns, in the time zone `zone`.

    The steps of `legend` depend on the cells.
    """

    heat: Heat
    hours: list[datetime]
    lines: list[HeatRow]
    legend: list[Shade]
    zone: str


@dataclass(frozen=True)
class TrendBar:
    """An hour of a trend in a box of WIDTH by HEIGHT; `parts` are (y, height), from the ground up."""

    x: float
    parts: list[tuple[float, float]]
    title: str
    running: bool
    known: bool


@dataclass(frozen=True)
class Trend:
    """24 hours as bars. `total` counts from the first known hour, `since`. Both are None if no hour is known.

    `partial`: a later hour is unknown. `top` is the highest bar.
    """

    bars: list[TrendBar]
    total: int | None
    since: datetime | None
    partial: bool
    top: int
    hours: list[datetime]


TREND_WIDTH, TREND_HEIGHT, _GAP = 240.0, 64.0, 0.2


def region_bar(regions: Sequence[Region], urls: Sequence[str], unknown: Sequence[str]) -> RegionBar:
    """Each region's share of the active nodes, shaded by its p95.

    `unknown` gives the reason for a missing p95.
    """
    total = sum(region.nodes for region in regions) or 1
    scale = scale_over(region.p95_ms for region in regions)
    found, x = [], 0.0
    for region, url, why in zip(regions, urls, unknown, strict=True):
        width = 100 * region.nodes / total
        name = "Other" if region.name == OTHER_REGIONS else region.name
        value = milliseconds(region.p95_ms) if not why else "—"
        found.append(
            Segment(
                region,
                round(x, 3),
                round(width, 3),
                _shade(scale, region.p95_ms),
                url,
                why,
                Label(name, _room(name, width)),
                Label(value, _room(value, width)),
            )
        )
        x += width
    return RegionBar(found, _p95_legend(scale))


def heatmap(regions: Sequence[RegionHours], heat: Heat) -> Heatmap:
    """Regions by hours, shaded by fifths of the cells."""
    hours = [point.hour for point in regions[0].hours] if regions else []
    points = [point for each in regions for point in each.hours]
    if heat is Heat.P95:
        scale, cell = scale_over(point.p95_ms for point in points), _p95_cell
        legend = _p95_legend(scale)
    else:
        scale, cell = scale_over(point.requests for point in points), _requests_cell
        legend = scale.legend(short) if scale else []
    lines = [HeatRow(each.name, [cell(point, scale) for point in each.hours]) for each in regions]
    return Heatmap(heat, hours, lines, legend, current_zone_words(hours[-1]) if hours else "")


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
        when = clock_words(point.hour)
        said = "unknown" if total is None else f"{total:,} {unit}"
        title = f"{when}: {said}{' so far' if point.running and total is not None else ''}"
        bars.append(TrendBar(round(number * step, 2), parts, title, point.running, total is not None))
    first = next((number for number, each in enumerate(sums) if each is not None), None)
    since = None if first is None else points[first].hour
    partial = None in sums[first:]
    return Trend(bars, sum(known) if known else None, since, partial, top, [point.hour for point in points])


def bar_width(count: int) -> float:
    """The width of one of so many bars."""
    return round(TREND_WIDTH / max(count, 1) * (1 - _GAP), 2)


def _shade(scale: Scale | None, value: float | None) -> int:
    return scale.shade(value) if scale else 0


def _p95_legend(scale: Scale | None) -> list[Shade]:
    return scale.legend(lambda bound: f"{bound:,.0f}", "ms") if scale else []


def _room(words: str, width: float) -> Room:
    """`width` in percent of the bar."""
    needed = _LETTER * len(words) + _LABEL_MARGIN
    if width / 100 * _NARROW_BAR >= needed:
        return Room.ALL
    return Room.WIDE if width / 100 * _WIDE_BAR >= needed else Room.NONE


def _p95_cell(point: HourPoint, scale: Scale | None) -> HeatCell:
    when = clock_words(point.hour)
    if point.p95_ms is None:
        return HeatCell("·", f"{when}: p95 unknown", 0)
    return HeatCell(
        short(point.p95_ms), f"{when}: p95 {milliseconds(point.p95_ms)}", _shade(scale, point.p95_ms)
    )


def _requests_cell(point: HourPoint, scale: Scale | None) -> HeatCell:
    when = clock_words(point.hour)
    if point.requests is None:
        return HeatCell("·", f"{when}: requests unknown", 0)
    running = " so far" if point.running else ""
    words = f"{when}: {point.requests:,} requests{running}"
    return HeatCell(short(point.requests), words, _shade(scale, point.requests))
