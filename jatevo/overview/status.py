"""90 days of each region's availability, for the status page.

Availability is minutes heard / minutes expected, summed over a region's nodes, from the hours that the
summariser stores (`RegionHour`). Minutes can be added up, so small regions can be combined. Days are in UTC.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db.models import Max, Sum
from django.db.models.functions import TruncDate

from jatevo.overview.kpis import OTHER_REGIONS, SMALLEST_PUBLIC_REGION
from jatevo.overview.models import Incident, RegionHour

DAYS = 90
NETWORK = ""
_DAY = timedelta(days=1)
# A region's size is its maximum over this many days, so that an outage does not make it disappear.
_LATELY_DAYS = 7


@dataclass(frozen=True)
class Minutes:
    """Minutes in which nodes were heard, of those in which they should have been."""

    up: int = 0
    expected: int = 0

    def __add__(self, other: "Minutes") -> "Minutes":
        return Minutes(self.up + other.up, self.expected + other.expected)

    @property
    def share(self) -> float | None:
        """None without data."""
        return self.up / self.expected if self.expected else None

    @property
    def words(self) -> str:
        """Rounded down: only a day without a missed minute is 100 %."""
        if not self.expected:
            return "no data"
        return "{}.{:02} %".format(*divmod(10_000 * self.up // self.expected, 100))


@dataclass(frozen=True)
class RegionDay:
    """A day of a region, with the titles of the incidents that touched it."""

    day: date
    minutes: Minutes
    incidents: tuple[str, ...]


@dataclass(frozen=True)
class RegionStrip:
    """A region's DAYS days, oldest first. `name` may be OTHER_REGIONS."""

    name: str
    days: list[RegionDay]

    @property
    def minutes(self) -> Minutes:
        """Of all days together."""
        return sum((day.minutes for day in self.days), Minutes())

    @property
    def heading(self) -> str:
        return "Other regions" if self.name == OTHER_REGIONS else self.name

    @property
    def label(self) -> str:
        """The strip in one sentence, for screen readers."""
        told = sum(bool(day.incidents) for day in self.days)
        return (
            f"{self.heading}, last {len(self.days)} days: {self.minutes.words}"
            f"{' available' if self.minutes.expected else ''}, incidents on {told} {'day' if told == 1 else 'days'}"
        )


@dataclass(frozen=True)
class Sums:
    """What the hours say: minutes by region and day, and the most nodes that were active at once."""

    minutes: Mapping[str, Mapping[date, Minutes]]
    nodes: Mapping[str, Mapping[date, int]]

    def is_large(self, region: str, day: date) -> bool:
        """Whether the region had enough nodes to be shown separately to everyone."""
        return region != OTHER_REGIONS and self.size(region, day) >= SMALLEST_PUBLIC_REGION

    def size(self, region: str, day: date) -> int:
        counted = self.nodes[region]
        return max(counted.get(day - back * _DAY, 0) for back in range(_LATELY_DAYS))


def history(*, at: datetime, fold_small: bool) -> list[RegionStrip]:
    """The strips of all regions with data, by name, OTHER_REGIONS last. Two queries.

    With `fold_small`, regions that are small now are combined as OTHER_REGIONS, and so are days on which a
    larger region was small. A day of OTHER_REGIONS with too few nodes is left out, unless there is nothing
    else.
    """
    today = at.astimezone(UTC).date()
    days = [today - back * _DAY for back in range(DAYS - 1, -1, -1)]
    sums = _sums(days[0], at)
    said = _incidents_by_day(days[0], at)
    regions = sorted(sums.minutes)
    if not fold_small:
        return [_strip(name, [(day, (name,)) for day in days], sums, said) for name in regions]
    shown = [name for name in regions if sums.is_large(name, today)]
    strips = [
        _strip(name, [(day, (name,) if sums.is_large(name, day) else ()) for day in days], sums, said)
        for name in shown
    ]
    folded = []
    for day in days:
        small = [name for name in regions if name not in shown or not sums.is_large(name, day)]
        enough = sum(sums.size(name, day) for name in small) >= SMALLEST_PUBLIC_REGION
        folded.append((day, small if enough or not shown else ()))
    other = _strip(OTHER_REGIONS, folded, sums, said)
    return [*strips, other] if other.minutes.expected else strips


def by_day(strips: Sequence[RegionStrip]) -> list[tuple[date, list[RegionDay]]]:
    """The same day by day, the latest first, for a table."""
    rows = zip(*(strip.days for strip in strips), strict=True)
    return [(row[0].day, list(row)) for row in rows][::-1]


def _strip(
    name: str,
    parts: Sequence[tuple[date, Collection[str]]],
    sums: Sums,
    said: Mapping[tuple[str, date], list[str]],
) -> RegionStrip:
    """`parts` names the regions that make up each day."""
    days = []
    for day, regions in parts:
        known = [sums.minutes[region].get(day, Minutes()) for region in regions]
        titles = [title for region in (*regions, NETWORK) for title in said.get((region, day), [])]
        days.append(RegionDay(day, sum(known, Minutes()), tuple(titles)))
    return RegionStrip(name, days)


def _sums(since: date, at: datetime) -> Sums:
    start = datetime.combine(since, datetime.min.time(), UTC)
    rows = (
        RegionHour.objects.filter(hour__gte=start - _LATELY_DAYS * _DAY, hour__lte=at)
        .exclude(region=NETWORK)
        .order_by()
        .annotate(day=TruncDate("hour", tzinfo=UTC))
        .values_list("region", "day")
        .annotate(up=Sum("minutes_up"), expected=Sum("minutes_expected"), most=Max("active_nodes"))
    )
    minutes: dict[str, dict[date, Minutes]] = defaultdict(dict)
    nodes: dict[str, dict[date, int]] = defaultdict(dict)
    for region, day, up, expected, most in rows:
        nodes[region][day] = most or 0
        if day >= since:
            minutes[region][day] = Minutes(up or 0, expected or 0)
    return Sums(minutes, nodes)


def _incidents_by_day(since: date, at: datetime) -> dict[tuple[str, date], list[str]]:
    """The titles of what touched each day, by region; NETWORK is everywhere."""
    start = datetime.combine(since, datetime.min.time(), UTC)
    said: dict[tuple[str, date], list[str]] = defaultdict(list)
    for incident in Incident.objects.touching(start, at).order_by("starts_at"):
        day = max(incident.starts_at, start).astimezone(UTC).date()
        last = (incident.ended_at or at).astimezone(UTC).date()
        while day <= min(last, at.astimezone(UTC).date()):
            said[incident.region, day].append(incident.title)
            day += _DAY
    return said
