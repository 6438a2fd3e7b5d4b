"""Seven days of uptime as bars, one row per day and one bar per hour. Pure: geometry in SVG user units."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from jatevo.metrics.minutes import HOUR, expected_minutes, floor_hour, floor_minute, minutes_of_hour
from jatevo.metrics.queries import SETTLED_AFTER

HOURS = 168
BAR_WIDTH = 8
BAR_STEP = 10
HEIGHT = 20
WIDTH = 24 * BAR_STEP - (BAR_STEP - BAR_WIDTH)
_STUB = 2
_LOWEST = 4  # the height of an hour with a single minute up
_FULL = 0.95


class HourLevel(StrEnum):
    """The state of an hour. Each has its own shape: full, lower, an empty frame, a floating frame, a dot."""

    FULL = "full"
    PARTIAL = "partial"
    DOWN = "down"
    EXCUSED = "excused"  # not full, but only because of exempt minutes
    UNKNOWN = "unknown"  # before the node's first heartbeat


@dataclass(frozen=True)
class HourBar:
    """The bar of one hour: its geometry and what it shows."""

    x: int
    y: int
    height: int
    level: HourLevel
    hour: datetime
    minutes_up: int
    minutes_expected: int
    minutes_excused: int = 0
    excuse: str = ""
    up: int = 0  # minutes up and minutes expected, as bits
    due: int = 0
    unheard: int = 0  # minutes of the console's own outages, as bits

    @property
    def minutes_counted(self) -> int:
        """The expected minutes for which it is known whether the node was up."""
        return expected_minutes(self.due, heard=self.up, unheard=self.unheard).bit_count()

    @property
    def title(self) -> str:
        name = f"{self.hour:%-d %b, %H:%M} UTC"
        if self.level is HourLevel.UNKNOWN:
            return f"{name}: nothing expected"
        excused = f", {self.minutes_excused} exempt ({self.excuse})" if self.minutes_excused else ""
        return f"{name}: up {self.minutes_up} of {self.minutes_expected} minutes{excused}"


@dataclass(frozen=True)
class UptimeDay:
    """The hours of one day (UTC) within the week."""

    day: date
    cells: list[HourBar]

    @property
    def minutes_up(self) -> int:
        return sum(cell.minutes_up for cell in self.cells)

    @property
    def minutes_expected(self) -> int:
        return sum(cell.minutes_counted for cell in self.cells)

    @property
    def share(self) -> float | None:
        """The share of minutes up, from 0 to 1. None while no minute was expected."""
        return self.minutes_up / self.minutes_expected if self.minutes_expected else None


@dataclass(frozen=True)
class UptimeStrip:
    """The days, newest first, with HOURS bars in total."""

    days: list[UptimeDay]
    width: int = WIDTH
    height: int = HEIGHT
    bar_width: int = BAR_WIDTH

    def excusing(
        self, minutes: Mapping[datetime, str], unheard: Mapping[datetime, int] | None = None
    ) -> "UptimeStrip":
        """The strip with exempt minutes marked. `minutes` has what excuses each.

        Minutes up stay up. Minutes that are `unheard` (bits by hour) are unknown and do not count in any
        share.
        """
        by_hour: dict[datetime, list[str]] = {}
        for minute, excuse in minutes.items():
            by_hour.setdefault(floor_hour(minute), []).append(excuse)

        def marked(cell: HourBar) -> HourBar:
            return _excused(cell, by_hour.get(cell.hour, []), (unheard or {}).get(cell.hour, 0))

        return replace(
            self, days=[replace(day, cells=[marked(cell) for cell in day.cells]) for day in self.days]
        )


def uptime_strip(
    hours_up: Mapping[datetime, int], *, first_minute: datetime | None, at: datetime
) -> UptimeStrip:
    """The strip of the HOURS that end with the hour of `at`.

    `hours_up` has the minutes up, as bits, by the start of their hour (UTC). It has only minutes that are at
    least SETTLED_AFTER old. Minutes are expected from `first_minute`, the node's first minute on record
    (None: never heard).
    """
    this_hour = floor_hour(at)
    until = floor_minute(at - SETTLED_AFTER)
    days: dict[date, list[HourBar]] = {}
    for index in range(HOURS):
        hour = this_hour - (HOURS - 1 - index) * HOUR
        due = 0 if first_minute is None else minutes_of_hour(hour, first_minute, until)
        days.setdefault(hour.date(), []).append(_cell(hour, hours_up.get(hour, 0), due))
    return UptimeStrip([UptimeDay(day, cells) for day, cells in reversed(days.items())])


def _cell(hour: datetime, up: int, due: int) -> HourBar:
    minutes_up, expected = up.bit_count(), due.bit_count()
    share = minutes_up / expected if expected else 0.0
    level = _level(minutes_up, expected)
    height = {
        HourLevel.FULL: HEIGHT,
        HourLevel.PARTIAL: max(_LOWEST, round(HEIGHT * share * 0.8)),  # visibly lower than a full bar
        HourLevel.DOWN: HEIGHT,
        HourLevel.UNKNOWN: _STUB,
    }[level]
    return HourBar(
        hour.hour * BAR_STEP, HEIGHT - height, height, level, hour, minutes_up, expected, up=up, due=due
    )


def _excused(cell: HourBar, excuses: list[str], unheard: int) -> HourBar:
    if not excuses or cell.level is HourLevel.UNKNOWN:
        return cell
    cell = replace(
        cell,
        minutes_excused=len(excuses),
        excuse=", ".join(dict.fromkeys(excuses)),
        unheard=unheard,
    )
    if cell.level is HourLevel.FULL or cell.minutes_up + len(excuses) < cell.minutes_expected * _FULL:
        return cell
    return replace(cell, level=HourLevel.EXCUSED, y=HEIGHT // 4, height=HEIGHT // 2)


def _level(minutes_up: int, expected: int) -> HourLevel:
    if not expected:
        return HourLevel.UNKNOWN
    if not minutes_up:
        return HourLevel.DOWN
    return HourLevel.FULL if minutes_up >= expected * _FULL else HourLevel.PARTIAL
