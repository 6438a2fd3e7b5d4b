"""The last hour of heartbeats, minute by minute, as a strip of bars. Pure: geometry in SVG user units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from jatevo.metrics.minutes import bit_of, floor_hour, floor_minute
from jatevo.web.time_zones import clock_words

MINUTES = 60
BAR_WIDTH = 6
BAR_STEP = 8
HEIGHT = 32
WIDTH = MINUTES * BAR_STEP - (BAR_STEP - BAR_WIDTH)
_STUB = 3  # the height of an unknown minute; a missed one is an empty frame
_ENOUGH = 0.8  # as in the quarantine rule: a fifth may be missing


class MinuteLevel(StrEnum):
    """The state of a minute. The values are used in the bars' tooltips and for their colours."""

    GOOD = "good"
    PARTIAL = "partial"
    MISSED = "missed"
    EXCUSED = "excused"  # some or all are missing in an exempt minute
    UNKNOWN = "unknown"  # before the node's first heartbeat, or too recent to judge


@dataclass(frozen=True)
class MinuteBar:
    """The bar of one minute: its geometry and what it shows."""

    x: int
    y: int
    height: int
    level: MinuteLevel
    minute: datetime
    beats: int
    excuse: str = ""

    @property
    def title(self) -> str:
        if self.level is MinuteLevel.UNKNOWN and not self.beats:
            return f"{clock_words(self.minute)}: nothing expected"
        excuse = f", {self.excuse}" if self.excuse else ""
        return f"{clock_words(self.minute)}: {self.beats} received{excuse}"


@dataclass(frozen=True)
class HeartbeatStrip:
    """The bars and their sums. `expected` counts from when the node was first heard.

    `received` counts at most the heartbeats due in each minute, so that a burst does not make up for silence.
    """

    bars: list[MinuteBar]
    received: int
    expected: int
    width: int = WIDTH
    height: int = HEIGHT
    bar_width: int = BAR_WIDTH

    @property
    def minutes_excused(self) -> int:
        return sum(bar.level is MinuteLevel.EXCUSED for bar in self.bars)

    @property
    def percent(self) -> int | None:
        """Received heartbeats as a percentage of expected ones, at most 100. None while nothing was due."""
        return min(100, self.received * 100 // self.expected) if self.expected else None


def heartbeat_strip(
    beats: Mapping[datetime, int],
    *,
    since: datetime | None,
    at: datetime,
    interval_seconds: int,
    excused: Mapping[datetime, str] | None = None,
    unheard: Mapping[datetime, int] | None = None,
) -> HeartbeatStrip:
    """The hour that ends with the minute of `at`.

    `beats` has the number of heartbeats by the start of their minute. `since` is when the node was first
    heard (None: never). `excused` has what excuses a minute, by its start. In `unheard` minutes (bits by
    hour) only the heartbeats that came count as due.
    """
    this_minute = floor_minute(at)
    minutes = [this_minute - timedelta(minutes=MINUTES - 1 - index) for index in range(MINUTES)]
    per_minute = 60 / interval_seconds
    seconds = [_seconds_due(minute, since, at) for minute in minutes]
    bars = [
        _bar(
            index,
            minute,
            beats.get(minute, 0),
            due / interval_seconds,
            per_minute,
            (excused or {}).get(minute, ""),
        )
        for index, (minute, due) in enumerate(zip(minutes, seconds, strict=True))
    ]
    received = heard_unheard = 0
    seconds_due = 0.0
    for minute, due in zip(minutes, seconds, strict=True):
        counted = min(beats.get(minute, 0), ceil(due / interval_seconds))
        received += counted
        if (unheard or {}).get(floor_hour(minute), 0) & bit_of(minute):
            heard_unheard += counted
        else:
            seconds_due += due
    expected = heard_unheard + int(seconds_due // interval_seconds)
    # the first heartbeat comes at once, not after an interval, so one more than due is not too many
    return HeartbeatStrip(bars, received, max(received, expected))


def _seconds_due(minute: datetime, since: datetime | None, at: datetime) -> float:
    """The seconds of the minute in which heartbeats were due."""
    if since is None:
        return 0.0
    start = max(minute, since)
    end = min(minute + timedelta(minutes=1), at)
    return max(0.0, (end - start).total_seconds())


def _bar(
    index: int, minute: datetime, beats: int, expected: float, per_minute: float, excuse: str
) -> MinuteBar:
    level = _level(beats, expected)
    if excuse and level in (MinuteLevel.PARTIAL, MinuteLevel.MISSED):
        return MinuteBar(
            index * BAR_STEP, HEIGHT // 4, HEIGHT // 2, MinuteLevel.EXCUSED, minute, beats, excuse
        )
    share = 1.0 if level is MinuteLevel.MISSED else beats / per_minute
    height = max(_STUB, min(HEIGHT, round(HEIGHT * share)))
    return MinuteBar(index * BAR_STEP, HEIGHT - height, height, level, minute, beats)


def _level(beats: int, expected: float) -> MinuteLevel:
    if beats >= expected * _ENOUGH and beats:
        return MinuteLevel.GOOD
    if expected < 2:  # too short a time to call a heartbeat missed
        return MinuteLevel.UNKNOWN
    return MinuteLevel.PARTIAL if beats else MinuteLevel.MISSED
