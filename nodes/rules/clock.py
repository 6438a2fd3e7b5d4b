"""How far a node's clock is off, by what it says the time is. Pure."""

from datetime import datetime, timedelta

# As the reference agent: a clock that is off by less needs no correction.
TOLERATED = timedelta(seconds=10)


def ahead(says: float, at: datetime) -> timedelta:
    """How far a clock that said `says` (unix seconds) is ahead, if the console's said `at` on arrival.

    Negative if it is behind, or what it said was that long under way.
    """
    return timedelta(seconds=says - at.timestamp())


def is_off(ahead: timedelta) -> bool:
    """Whether that is more than clocks may differ."""
    return abs(ahead) > TOLERATED


def in_seconds(span: timedelta) -> str:
    """How long in words, without a sign: 3 s, 1,200 s."""
    return f"{abs(span.total_seconds()):,.0f} s"
