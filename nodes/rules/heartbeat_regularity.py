"""How regularly a node's heartbeats came in the last day, minute by minute. Pure."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(hours=24)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Regularity:
    """Of the window's whole minutes: in how many a heartbeat came, and the longest run without one.

    A run ends where silence is excused; `minutes_excused` are those in which none came, and none was owed.
    """

    minutes_heard: int
    minutes_expected: int
    longest_gap_minutes: int
    longest_gap_from: datetime | None
    minutes_excused: int = 0

    @property
    def share(self) -> float | None:
        """From 0 to 1; None while no minute was due."""
        return self.minutes_heard / self.minutes_expected if self.minutes_expected else None


def regularity(
    heard: Mapping[datetime, int],
    beats: Mapping[datetime, int],
    *,
    since: datetime,
    at: datetime,
    excused: Container[datetime] = (),
    unheard: Container[datetime] = (),
) -> Regularity:
    """The WINDOW that ends with the last whole minute before `at`, from `since` (when the node was there).

    `heard` has for each hour (its start) a bit for each minute in which a heartbeat came; `beats` counts those
    of single minutes that the hours may not have yet; `excused` has the minutes that nobody blames the node for,
    and `unheard` those of them in which no heartbeat was due at all.
    """
    end = at.replace(second=0, microsecond=0)
    minute = max(end - WINDOW, _ceil_minute(since))
    there = since <= end - WINDOW  # a younger node is expected from its first heartbeat on
    heard_minutes = expected = gap = longest = silence_excused = 0
    longest_from: datetime | None = None
    while minute < end:
        came = bool(heard.get(minute.replace(minute=0), 0) >> minute.minute & 1 or beats.get(minute, 0))
        there = there or came
        expected += there and (came or minute not in unheard)
        heard_minutes += came
        silent = there and not came
        silence_excused += silent and minute in excused
        gap = gap + 1 if silent and minute not in excused else 0
        if gap > longest:
            longest, longest_from = gap, minute - (gap - 1) * _MINUTE
        minute += _MINUTE
    return Regularity(heard_minutes, expected, longest, longest_from, silence_excused)


def hours_of_window(at: datetime) -> tuple[datetime, datetime]:
    """The first and the last hour (their starts) that the window touches."""
    end = at.replace(minute=0, second=0, microsecond=0)
    return end - WINDOW, end


def _ceil_minute(at: datetime) -> datetime:
    floor = at.replace(second=0, microsecond=0)
    return floor if floor == at else floor + _MINUTE
