"""A node's latency charts over a day or a week, and their figures as text.

The page shows the lines as SVG. If JavaScript is available, uPlot draws the same points instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil, log10

from jatevo.metrics import queries
from jatevo.metrics.queries import LatencyPoint
from jatevo.metrics.transport import Transport
from jatevo.web.json import dump

WIDTH, HEIGHT = 600, 160
_MOST_POINTS = 360  # a point for every 1.5 pixels; more cannot be distinguished


class ChartWindow(StrEnum):
    """How far back a chart goes. The values are used in the URL."""

    DAY = "24h"
    WEEK = "7d"

    @property
    def label(self) -> str:
        return "24 hours" if self is ChartWindow.DAY else "7 days"

    @property
    def length(self) -> timedelta:
        return timedelta(hours=24) if self is ChartWindow.DAY else timedelta(days=7)

    @property
    def gap(self) -> timedelta:
        """Two points further apart than this are not joined, because nothing was measured between them."""
        return timedelta(minutes=20) if self is ChartWindow.DAY else timedelta(hours=2, minutes=30)


# The lines also differ by their dashes, both in the SVG and in uPlot.
_TONES = {"p50": "text-ok", "p95": "text-primary", "p99": "text-warn"}
_DASHES = {"p50": "2 3", "p95": "", "p99": "8 4"}


@dataclass(frozen=True)
class PercentileLine:
    """One percentile: its polylines, and figures over all its points in milliseconds, including those not
    drawn.
    """

    name: str
    tone: str
    dash: str
    polylines: list[str]
    last_ms: float
    least_ms: float
    median_ms: float
    highest_ms: float


@dataclass(frozen=True)
class LatencyChart:
    """A chart.

    `lines` is empty if nothing was measured. `data` is uPlot's JSON: unix seconds, then each line's values.

    `worst_of_minutes`: each point drawn is the worst of that many minutes. It is 0 if every measured point is
    drawn.
    """

    window: ChartWindow
    lines: list[PercentileLine]
    top_ms: float
    middle_ms: float
    since: datetime
    until: datetime
    points: int
    data: str
    worst_of_minutes: int = 0
    width: int = WIDTH
    height: int = HEIGHT


def ask_latencies(store: Transport, node_id: str, window: ChartWindow, *, at: datetime) -> list[LatencyPoint]:
    """The window's points, oldest first: each probe for a day, each hour for a week."""
    query: Callable[..., list[LatencyPoint]]
    query = queries.latency_series if window is ChartWindow.DAY else queries.latency_by_node_hour
    return query(store, node_id, at - window.length, at)


def latency_chart(points: Sequence[LatencyPoint], window: ChartWindow, *, at: datetime) -> LatencyChart:
    """The chart of the window that ends at `at`."""
    since = at - window.length
    within = [point for point in points if since <= point.ts <= at]
    drawn = _thinned(within, window)
    measured = [value for point in within for value in _values(point) if value is not None]
    top = _round_top(max(measured, default=0.0))
    lines = [
        _line(name, _known(name, drawn), _known(name, within), since=since, window=window, top=top)
        for name in _TONES
        if _known(name, within)
    ]
    return LatencyChart(
        window=window,
        lines=lines,
        top_ms=top,
        middle_ms=top / 2,
        since=since,
        until=at,
        points=len(within),
        data=_data(drawn, window),
        worst_of_minutes=int(_bucket(window) / timedelta(minutes=1)) if len(drawn) < len(within) else 0,
    )


def _known(name: str, points: Sequence[LatencyPoint]) -> list[tuple[datetime, float]]:
    """The times and values of the percentile, where it was measured."""
    values = [(point.ts, getattr(point, f"{name}_ms")) for point in points]
    return [(ts, value) for ts, value in values if value is not None]


def _values(point: LatencyPoint) -> tuple[float | None, float | None, float | None]:
    return point.p50_ms, point.p95_ms, point.p99_ms


def _thinned(points: Sequence[LatencyPoint], window: ChartWindow) -> list[LatencyPoint]:
    """At most _MOST_POINTS points.

    Points too close to each other become one, with the worst value of each figure.
    """
    seconds = _bucket(window).total_seconds()
    together: dict[int, LatencyPoint] = {}
    for point in points:
        place = int(point.ts.timestamp() // seconds)
        before = together.get(place)
        together[place] = point if before is None else _worst(before, point)
    return list(together.values())


def _bucket(window: ChartWindow) -> timedelta:
    return window.length / _MOST_POINTS


def _worst(one: LatencyPoint, other: LatencyPoint) -> LatencyPoint:
    p50, p95, p99 = map(_higher, _values(one), _values(other))
    return LatencyPoint(other.ts, p50, p95, p99, other.tps)


def _higher(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _round_top(highest: float) -> float:
    """The top of the axis: the first of 1, 2, 5, 10, 20 … that is not below the highest value."""
    if highest <= 1:
        return 1.0
    magnitude = 10.0 ** int(log10(highest))
    return next(
        factor * magnitude for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if factor * magnitude >= highest
    )


def _line(
    name: str,
    drawn: Sequence[tuple[datetime, float]],
    measured: Sequence[tuple[datetime, float]],
    *,
    since: datetime,
    window: ChartWindow,
    top: float,
) -> PercentileLine:
    runs: list[list[tuple[float, float]]] = []
    before: datetime | None = None
    for ts, value in drawn:
        if before is None or ts - before > window.gap:
            runs.append([])
        x = WIDTH * ((ts - since) / window.length)
        runs[-1].append((x, HEIGHT - HEIGHT * value / top))
        before = ts
    figures = sorted(value for _, value in measured)
    return PercentileLine(
        name=name,
        tone=_TONES[name],
        dash=_DASHES[name],
        polylines=[_polyline(run) for run in runs],
        last_ms=measured[-1][1],
        least_ms=figures[0],
        median_ms=figures[ceil(len(figures) / 2) - 1],
        highest_ms=figures[-1],
    )


def _polyline(run: Sequence[tuple[float, float]]) -> str:
    if len(run) == 1:  # a single point is drawn as a short dash
        ((x, y),) = run
        run = [(max(0.0, x - 1.5), y), (min(float(WIDTH), x + 1.5), y)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in run)


def _data(points: Sequence[LatencyPoint], window: ChartWindow) -> str:
    """Columns for uPlot. A row of nulls between points that are too far apart interrupts the lines there."""
    rows: list[tuple[int, float | None, float | None, float | None]] = []
    before: datetime | None = None
    for point in points:
        if before is not None and point.ts - before > window.gap:
            rows.append((int((before + (point.ts - before) / 2).timestamp()), None, None, None))
        rows.append((int(point.ts.astimezone(UTC).timestamp()), *_values(point)))
        before = point.ts
    return dump([list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]).decode()
