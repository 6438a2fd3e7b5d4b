"""The bars of a histogram: a range of time in steps of a sensible width, which are whole minutes, hours, days, months."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from math import gcd
from typing import Final
from zoneinfo import ZoneInfo

MOST_BARS: Final = 120
_DAY: Final = 86_400
_MONDAY: Final = date(1970, 1, 5)


@dataclass(frozen=True)
class Width:
    """The width of a bar. `edges` gives those of a range, the first at or before its start, the last at or after its end."""

    label: str
    seconds: int  # about
    edges: Callable[[datetime, datetime, ZoneInfo], list[datetime]]


@dataclass(frozen=True)
class Cut:
    """A range in bars: `edges` has one more than there are bars. All of them are a number of cells from the first."""

    width: Width
    edges: Sequence[datetime]
    cell_seconds: int

    @property
    def cells(self) -> int:
        """How many there are."""
        return int((self.edges[-1] - self.edges[0]).total_seconds()) // self.cell_seconds

    def bar_of(self, cell: int) -> int:
        """The number of the bar in which a cell lies."""
        return bisect_right(self.edges, self.edges[0] + timedelta(seconds=cell * self.cell_seconds)) - 1


def cut(since: datetime, until: datetime, zone: ZoneInfo) -> Cut:
    """The range in as many bars as fit, at most MOST_BARS, by the clock of the zone. `until` lies after `since`."""
    wide_enough = [width for width in WIDTHS if (until - since).total_seconds() <= MOST_BARS * width.seconds]
    width, edges = next(
        (width, edges)
        for width in wide_enough
        for edges in [width.edges(since, until, zone)]
        if len(edges) <= MOST_BARS + 1
    )
    steps = (int((end - start).total_seconds()) for start, end in pairwise(edges))
    return Cut(width, edges, gcd(*steps))


def _by_seconds(seconds: int, since: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    """Steps from midnight of the first day on."""
    midnight = _midnight(since.astimezone(zone).date(), zone)
    passed = int((since - midnight).total_seconds()) // seconds
    return _until(lambda number: midnight + timedelta(seconds=seconds * (passed + number)), until)


def _by_days(days: int, since: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    day = since.astimezone(zone).date()
    if days > 1:
        day -= timedelta(days=(day - _MONDAY).days % days)
    return _until(lambda number: _midnight(day + timedelta(days=days * number), zone), until)


def _by_months(months: int, since: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    day = since.astimezone(zone).date()
    first = (day.year * 12 + day.month - 1) // months * months

    def edge(number: int) -> datetime:
        year, month = divmod(first + months * number, 12)
        return _midnight(date(year, month + 1, 1), zone)

    return _until(edge, until)


def _until(edge: Callable[[int], datetime], until: datetime) -> list[datetime]:
    edges = [edge(0)]
    while edges[-1] < until:
        edges.append(edge(len(edges)))
    return edges


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _width(label: str, seconds: int) -> Width:
    return Width(label, seconds, partial(_by_seconds, seconds))


WIDTHS: Final = (
    _width("minute", 60),
    _width("5 minutes", 300),
    _width("15 minutes", 900),
    _width("30 minutes", 1800),
    _width("hour", 3600),
    _width("3 hours", 3 * 3600),
    _width("6 hours", 6 * 3600),
    _width("12 hours", 12 * 3600),
    Width("day", _DAY, partial(_by_days, 1)),
    Width("week", 7 * _DAY, partial(_by_days, 7)),
    Width("month", 28 * _DAY, partial(_by_months, 1)),
    Width("quarter", 90 * _DAY, partial(_by_months, 3)),
    Width("year", 365 * _DAY, partial(_by_months, 12)),
)
