"""What queries are put together from: windows, their whole hours and edges, and parts of SQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


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


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a window's ends must have a time zone")
    return at.astimezone(UTC)


def joined(*parts: str) -> str:
    """Constant parts of SQL, as one statement; values go through parameters."""
    return " ".join(parts)
