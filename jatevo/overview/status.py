"""The status page: how the network is now, and 90 days of each region's availability.

Availability is minutes heard / minutes expected, summed over a region's nodes, from the hours that the
summariser keeps (`RegionHour`). Minutes add up, so that small regions can be told together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from django.db.models import Max, Q, Sum
from django.db.models.functions import TruncDate

from jatevo.overview.kpis import OTHER_REGIONS, SMALLEST_PUBLIC_REGION
from jatevo.overview.models import Incident, IncidentKind, RegionHour, Severity

DAYS = 90
# A region is told by itself if it had enough nodes in these days: an outage must not make it disappear.
LATELY = timedelta(days=7)
# From these shares on a day is called so; one definition for cells, words and legend.
GOOD, FAIR = 0.99, 0.95


class Level(StrEnum):
    """How a day went. The words are in the cells' titles, the height of the bar says it without colour."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, share: float | None) -> "Level":
        if share is None:
            return cls.UNKNOWN
        return cls.GOOD if share >= GOOD else cls.FAIR if share >= FAIR else cls.POOR


@dataclass(frozen=True)
class Cell:
    """A day of a region. `x`, `y` and `height` place its bar in a box of DAYS by 28 units."""

    day: date
    share: float | None
    incidents: tuple[str, ...]
    x: int
    y: int
    height: int

    @property
    def level(self) -> Level:
        return Level.of(self.share)

    @property
    def title(self) -> str:
        share = "no data" if self.share is None else f"{self.share * 100:.2f} % available"
        return ": ".join([f"{self.day:%-d %b %Y}", "; ".join([share, *self.incidents])])


@dataclass(frozen=True)
class Strip:
    """A region's 90 days, oldest first. `share` is that of all of them; None without data."""

    name: str
    cells: list[Cell]
    share: float | None


@dataclass(frozen=True)
class Overall:
    """The state of the network in one sentence; `tone` is the word of its colour."""

    sentence: str
    tone: str
    icon: str


_HEIGHTS = {Level.GOOD: 28, Level.FAIR: 20, Level.POOR: 12, Level.UNKNOWN: 4}
_BOX = 28


def by_day(strips: Sequence[Strip]) -> list[tuple[date, list[Cell]]]:
    """The same day by day, the latest first, for a table."""
    columns = [strip.cells for strip in strips]
    return [(row[0].day, list(row)) for row in zip(*columns, strict=True)][::-1] if columns else []


def overall(under_way: Sequence[Incident]) -> Overall:
    """From what is announced, not from figures: a page that judges by itself cries wolf."""
    incidents = [each for each in under_way if each.kind == IncidentKind.INCIDENT]
    if any(each.severity == Severity.MAJOR for each in incidents):
        return Overall("A major incident is under way.", "bad", "warning")
    if any(each.severity == Severity.WARN for each in incidents):
        return Overall("Some of the network is impaired.", "warn", "warning")
    if incidents:
        return Overall("The network works; there is a notice below.", "info", "info")
    if under_way:
        return Overall("Maintenance is under way.", "info", "info")
    return Overall("No incidents are under way.", "ok", "active")


def history(*, at: datetime, fold_small: bool) -> list[Strip]:
    """The strips of all regions with data, by name. Two queries."""
    today = at.astimezone(UTC).date()
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    start = datetime.combine(days[0], datetime.min.time(), UTC)
    rows = (
        RegionHour.objects.filter(hour__gte=start, hour__lte=at)
        .exclude(region="")
        .order_by()
        .annotate(day=TruncDate("hour", tzinfo=UTC))
        .values_list("region", "day")
        .annotate(
            up=Sum("minutes_up"),
            expected=Sum("minutes_expected"),
            nodes=Max("active_nodes", filter=Q(hour__gte=at - LATELY)),
        )
    )
    minutes: dict[str, dict[date, tuple[int, int]]] = defaultdict(dict)
    nodes: dict[str, int] = defaultdict(int)
    for region, day, up, expected, most in rows:
        minutes[region][day] = (up or 0, expected or 0)
        nodes[region] = max(nodes[region], most or 0)
    if fold_small:
        minutes = _folded(minutes, nodes)
    said = _incidents_by_day(start, at)
    return [_strip(name, minutes[name], days, said) for name in _ordered(minutes)]


def _folded(
    minutes: Mapping[str, Mapping[date, tuple[int, int]]], nodes: Mapping[str, int]
) -> dict[str, dict[date, tuple[int, int]]]:
    """Regions without enough nodes are one line; it is left out if even together they are too few."""
    folded: dict[str, dict[date, tuple[int, int]]] = defaultdict(dict)
    small = [name for name in minutes if nodes[name] < SMALLEST_PUBLIC_REGION]
    for name, days in minutes.items():
        if name not in small:
            folded[name] = dict(days)
    if sum(nodes[name] for name in small) >= SMALLEST_PUBLIC_REGION or (small and not folded):
        for name in small:
            for day, (up, expected) in minutes[name].items():
                known = folded[OTHER_REGIONS].get(day, (0, 0))
                folded[OTHER_REGIONS][day] = (known[0] + up, known[1] + expected)
    return folded


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (name == OTHER_REGIONS, name))


def _incidents_by_day(start: datetime, at: datetime) -> dict[tuple[str, date], list[str]]:
    """The titles of what touched each day, by region; '' is the whole network."""
    said: dict[tuple[str, date], list[str]] = defaultdict(list)
    recent = Incident.objects.filter(starts_at__lte=at).exclude(resolved_at__lt=start)
    for incident in recent.order_by("starts_at"):
        day = max(incident.starts_at, start).astimezone(UTC).date()
        last = (incident.resolved_at or at).astimezone(UTC).date()
        while day <= last:
            said[incident.region, day].append(incident.title)
            day += timedelta(days=1)
    return said


def _strip(
    name: str,
    minutes: Mapping[date, tuple[int, int]],
    days: Sequence[date],
    said: Mapping[tuple[str, date], list[str]],
) -> Strip:
    cells = []
    for number, day in enumerate(days):
        up, expected = minutes.get(day, (0, 0))
        share = up / expected if expected else None
        height = _HEIGHTS[Level.of(share)]
        incidents = (*said.get((name, day), []), *said.get(("", day), []))
        cells.append(Cell(day, share, incidents, number, _BOX - height, height))
    total_up = sum(up for up, _ in minutes.values())
    total = sum(expected for _, expected in minutes.values())
    return Strip(name, cells, total_up / total if total else None)
