"""How regularly a node's heartbeats came in the last day, minute by minute. Pure."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from jatevo.metrics.minutes import MINUTE, bit_of, expected_minutes, floor_hour, floor_minute

WINDOW = timedelta(hours=24)


@dataclass(frozen=True)
class Regularity:
    """In how many complete minutes of the window a heartbeat came, and the longest run of minutes without
    one.

    An excused minute ends a run. `minutes_excused` counts excused minutes without a heartbeat.
    """

    minutes_heard: int
    minutes_expected: int
    longest_gap_minutes: int
    longest_gap_from: datetime | None
    minutes_excused: int = 0

    @property
    def share(self) -> float | None:
        """The share of minutes due in which a heartbeat came, from 0 to 1. None while no minute was due."""
        return self.minutes_heard / self.minutes_expected if self.minutes_expected else None


def regularity(
    heard: Mapping[datetime, int],
    beats: Mapping[datetime, int],
    *,
    first_heard_at: datetime | None,
    at: datetime,
    excused: Container[datetime] = (),
    unheard: Mapping[datetime, int] | None = None,
) -> Regularity:
    """The regularity in the WINDOW that ends with the last complete minute before `at`.

    It counts from the minute in which the node was first heard. `heard` has, by the start of an hour, a bit
    for each minute with a heartbeat. `beats` counts heartbeats of minutes that the hours may not include yet.
    `excused` has the minutes that do not count against the node, and `unheard` (bits by hour) those of them
    in which the console could not hear a heartbeat.
    """
    end = floor_minute(at)
    if first_heard_at is None:
        return Regularity(0, 0, 0, None)
    minute = max(end - WINDOW, floor_minute(first_heard_at))
    heard_minutes = expected = gap = longest = silence_excused = 0
    longest_from: datetime | None = None
    while minute < end:
        hour, bit = floor_hour(minute), bit_of(minute)
        came = bit if heard.get(hour, 0) & bit or beats.get(minute, 0) else 0
        expected += bool(expected_minutes(bit, heard=came, unheard=(unheard or {}).get(hour, 0)))
        heard_minutes += bool(came)
        silence_excused += not came and minute in excused
        gap = gap + 1 if not came and minute not in excused else 0
        if gap > longest:
            longest, longest_from = gap, minute - (gap - 1) * MINUTE
        minute += MINUTE
    return Regularity(heard_minutes, expected, longest, longest_from, silence_excused)


def hours_of_window(at: datetime) -> tuple[datetime, datetime]:
    """The starts of the first and the last hour that the window touches."""
    end = floor_hour(at)
    return end - WINDOW, end
