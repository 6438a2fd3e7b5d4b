"""The network's past hours and how today compares with yesterday, from PostgreSQL alone (`RegionHour`)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jatevo.metrics.minutes import floor_hour
from jatevo.overview.kpis import OTHER_REGIONS, SMALLEST_PUBLIC_REGION, Snapshot
from jatevo.overview.models import RegionHour
from jatevo.web.figures import Figure, Knowledge

NETWORK = ""  # the region of the rows for the whole network
HOUR = timedelta(hours=1)
# How many hours, including the current one, reach back to the start of "the 24 hours before these".
DAY_CHANGE_HOURS = 49


@dataclass(frozen=True)
class HourPoint:
    """An hour (its start, UTC). None is unknown, never 0. In the `running` hour, counts are incomplete."""

    hour: datetime
    active_nodes: int | None
    models_cached: int | None
    p95_ms: float | None
    requests: int | None
    tokens_input: int | None
    tokens_output: int | None
    errors: int | None
    running: bool = False
    computed_at: datetime | None = None  # up to when its facts had arrived


@dataclass(frozen=True)
class RegionHours:
    """A region's hours, oldest first; `name` may be OTHER_REGIONS."""

    name: str
    hours: list[HourPoint]


@dataclass(frozen=True)
class DayChange:
    """A figure now and a day before. `ratio` is 0.1 for a tenth more. None if unknown."""

    now: float | int | None
    before: float | int | None

    @property
    def difference(self) -> float | int | None:
        return None if self.now is None or self.before is None else self.now - self.before

    @property
    def ratio(self) -> float | None:
        return self.difference / self.before if self.difference is not None and self.before else None


@dataclass(frozen=True)
class DayChanges:
    """The four figures of the Overview, compared with the day before."""

    active_nodes: DayChange
    p95_ms: DayChange
    models_cached: DayChange
    requests_24h: DayChange


def network_hours(*, at: datetime, hours: int = 48) -> list[HourPoint]:
    """The network's last `hours` hours, oldest first, the running one last, none left out. One query."""
    wanted = _hours_until(at, hours)
    found = {row.hour: row for row in RegionHour.objects.filter(region=NETWORK, hour__gte=wanted[0])}
    return [_point(found.get(hour), hour, running=hour == wanted[-1]) for hour in wanted]


def region_hours(*, at: datetime, hours: int = 24, fold_small: bool) -> list[RegionHours]:
    """The same for each region that had active nodes, latency or requests, by name. One query.

    With `fold_small`, regions that now have fewer than SMALLEST_PUBLIC_REGION active nodes are combined as
    OTHER_REGIONS, and so are single hours in which a larger region had fewer. Counts are added up.
    Percentiles cannot be, so the p95 is known only if all nodes of the hour are in one region and are enough,
    or if every region is combined; then it is the network's. If the combined regions still have too few
    nodes, the counts of the smallest large region are added to theirs for that hour, so that theirs cannot be
    found by subtraction.
    """
    wanted = _hours_until(at, hours)
    rows: dict[str, dict[datetime, RegionHour]] = defaultdict(dict)
    for row in RegionHour.objects.filter(hour__gte=wanted[0], hour__lte=wanted[-1]).order_by("region"):
        rows[row.region][row.hour] = row
    network = rows.pop(NETWORK, {})
    lively = {name: found for name, found in rows.items() if any(map(_says_something, found.values()))}
    if fold_small:
        return _folded(lively, network, wanted)
    return [RegionHours(name, _points(found, wanted)) for name, found in lively.items()]


def day_changes(network: Snapshot, past: Sequence[HourPoint], *, at: datetime) -> DayChanges:
    """The snapshot's figures against the day before, from at least DAY_CHANGE_HOURS of `network_hours`.

    Stale figures are not compared, because they belong to an earlier moment.

    Active nodes and models compare with the sample nearest to 24 h ago (each hour keeps its last one), p95
    with that of the whole hour 24 h ago, and requests with the 24 h before these, whose hours at both ends
    count pro rata.
    """
    by_hour = {point.hour: point for point in past}
    day_ago = at - 24 * HOUR
    sampled = by_hour.get(floor_hour(day_ago + HOUR / 2) - HOUR)
    measured = by_hour.get(floor_hour(day_ago))
    return DayChanges(
        active_nodes=DayChange(network.active_nodes.value, sampled.active_nodes if sampled else None),
        p95_ms=DayChange(_fresh(network.p95_ms), measured.p95_ms if measured else None),
        models_cached=DayChange(network.models_cached.value, sampled.models_cached if sampled else None),
        requests_24h=DayChange(
            _fresh(network.requests_24h), _requests_between(by_hour, day_ago - 24 * HOUR, day_ago)
        ),
    )


def _fresh(figure: Figure) -> float | int | None:
    return figure.value if figure.state is Knowledge.KNOWN else None


def _folded(
    regions: dict[str, dict[datetime, RegionHour]],
    network: dict[datetime, RegionHour],
    wanted: Sequence[datetime],
) -> list[RegionHours]:
    """The regions that are large now, in hours in which they were large. The rest is OTHER_REGIONS, last."""
    large = {name for name, found in regions.items() if _is_large(_latest(found)) and name != OTHER_REGIONS}
    if regions and not large:
        return [RegionHours(OTHER_REGIONS, _points(network, wanted))]
    own = {
        name: {hour: row for hour, row in regions[name].items() if _is_large(row)} for name in sorted(large)
    }
    others = {
        hour: [
            found[hour] for name, found in regions.items() if hour in found and hour not in own.get(name, {})
        ]
        for hour in wanted
    }
    cover = {
        hour: _cover(folded, [found[hour] for found in own.values() if hour in found])
        for hour, folded in others.items()
    }
    lines = []
    for name, found in own.items():
        points = _points(found, wanted)
        lines.append(
            RegionHours(
                name, [_without_counts(point) if cover[point.hour] == name else point for point in points]
            )
        )
    if any(_says_something(row) for folded in others.values() for row in folded):
        points = []
        for hour, folded in others.items():
            covering = [own[cover[hour]][hour]] if cover[hour] else []
            points.append(_together([*folded, *covering], hour, running=hour == wanted[-1]))
        lines.append(RegionHours(OTHER_REGIONS, points))
    return sorted(lines, key=lambda line: (line.name == OTHER_REGIONS, line.name))


def _cover(folded: Sequence[RegionHour], large: Sequence[RegionHour]) -> str:
    """The region whose counts are combined with an hour's small ones to hide them.

    '' if not needed or possible.
    """
    nodes = sum(row.active_nodes or 0 for row in folded)
    if nodes >= SMALLEST_PUBLIC_REGION or not large or not any(_says_something(row) for row in folded):
        return ""
    return min(large, key=lambda row: (row.active_nodes, row.region)).region


def _without_counts(point: HourPoint) -> HourPoint:
    return replace(point, requests=None, tokens_input=None, tokens_output=None, errors=None)


def _requests_between(by_hour: dict[datetime, HourPoint], since: datetime, until: datetime) -> int | None:
    """The requests of a window, with its first and last hour pro rata.

    None if any of its hours is unknown.
    """
    total = 0.0
    hour = floor_hour(since)
    while hour < until:
        requests = by_hour[hour].requests if hour in by_hour else None
        if requests is None:
            return None
        total += requests * ((min(hour + HOUR, until) - max(hour, since)) / HOUR)
        hour += HOUR
    return round(total)


def _hours_until(at: datetime, hours: int) -> list[datetime]:
    last = floor_hour(at)
    return [last - back * HOUR for back in range(hours - 1, -1, -1)]


def _points(found: dict[datetime, RegionHour], wanted: Sequence[datetime]) -> list[HourPoint]:
    return [_point(found.get(hour), hour, running=hour == wanted[-1]) for hour in wanted]


def _point(row: RegionHour | None, hour: datetime, *, running: bool) -> HourPoint:
    if row is None:
        return HourPoint(hour, None, None, None, None, None, None, None, running)
    return HourPoint(
        hour,
        row.active_nodes,
        row.models_cached,
        row.p95_ms,
        row.requests,
        row.tokens_input,
        row.tokens_output,
        row.errors,
        running,
        row.computed_at,
    )


def _together(rows: Sequence[RegionHour], hour: datetime, *, running: bool) -> HourPoint:
    alone = rows[0] if len(rows) == 1 and _is_large(rows[0]) else None
    return HourPoint(
        hour,
        _sum(row.active_nodes for row in rows),
        None,
        alone.p95_ms if alone else None,
        _sum(row.requests for row in rows),
        _sum(row.tokens_input for row in rows),
        _sum(row.tokens_output for row in rows),
        _sum(row.errors for row in rows),
        running,
    )


def _sum(values: Iterable[int | None]) -> int | None:
    """The sum of the known values, or None if all are unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _is_large(row: RegionHour | None) -> bool:
    """Whether an hour's figures cover enough nodes to be shown to everyone. Unknown counts as no."""
    return row is not None and (row.active_nodes or 0) >= SMALLEST_PUBLIC_REGION


def _latest(found: dict[datetime, RegionHour]) -> RegionHour | None:
    """The last hour in which the region's nodes were counted."""
    counted = [hour for hour, row in found.items() if row.active_nodes is not None]
    return found[max(counted)] if counted else None


def _says_something(row: RegionHour) -> bool:
    return bool(row.active_nodes or row.requests or row.p95_ms is not None)
