"""Minutes and hours (UTC) of time windows. The minutes of an hour are 60 bits, with bit m for minute m.

All functions are pure. `expected_minutes` defines, for all computations of uptime, which minutes are
expected of a node.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ALL_MINUTES = (1 << 60) - 1

Windows = Iterable[tuple[datetime, datetime]]  # each is `since <= t < until`


def floor_minute(at: datetime) -> datetime:
    """The start (UTC) of the minute that a moment is in."""
    return _utc(at).replace(second=0, microsecond=0)


def ceil_minute(at: datetime) -> datetime:
    """The first whole minute (UTC) that does not begin before a moment."""
    floor = floor_minute(at)
    return floor if floor == at else floor + MINUTE


def floor_hour(at: datetime) -> datetime:
    """The start (UTC) of the hour that a moment is in."""
    return _utc(at).replace(minute=0, second=0, microsecond=0)


def ceil_hour(at: datetime) -> datetime:
    """The first whole hour (UTC) that does not begin before a moment."""
    floor = floor_hour(at)
    return floor if floor == at else floor + HOUR


def hours_touched(since: datetime, until: datetime) -> Iterator[datetime]:
    """The starts of all hours that have a moment of `since <= t < until`, in order."""
    hour = floor_hour(since)
    while hour < until:
        yield hour
        hour += HOUR


def minutes_touched(since: datetime, until: datetime) -> Iterator[datetime]:
    """The starts of all minutes that have a moment of `since <= t < until`, in order."""
    minute = floor_minute(since)
    while minute < until:
        yield minute
        minute += MINUTE


def minutes_of_hour(hour: datetime, since: datetime, until: datetime) -> int:
    """The minutes of the hour that have a moment of `since <= t < until`, as bits."""
    first = max(0, (since - hour) // MINUTE)
    end = min(60, -((hour - until) // MINUTE))
    return (1 << end) - (1 << first) if first < end else 0


def hours_of_windows(windows: Windows, since: datetime, until: datetime) -> dict[datetime, int]:
    """The minutes of `since <= t < until` that a window touches, as bits by hour, without empty hours."""
    found: dict[datetime, int] = {}
    for starts_at, ends_at in windows:
        start, end = max(starts_at, since), min(ends_at, until)
        for hour in hours_touched(start, end):
            found[hour] = found.get(hour, 0) | minutes_of_hour(hour, start, end)
    return found


def bit_of(minute: datetime) -> int:
    """The minute's bit in its hour."""
    return 1 << minute.minute


def expected_minutes(due: int, *, heard: int, unheard: int) -> int:
    """The minutes of an hour that count as expected for a node's uptime, as bits.

    These are the minutes `due` (past minutes since the node's first one) without the `unheard` minutes (the
    console's own outages), except those in which the node was `heard`.
    """
    return due & ~unheard | heard


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a moment must have a time zone")
    return at.astimezone(UTC)
