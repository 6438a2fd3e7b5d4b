"""The status page's strips as SVG, with a bar for each day. Pure: geometry in SVG user units.

All bars of a level are one path, so that the page stays small however many regions there are.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from jatevo.overview.status import RegionDay, RegionStrip

# The least share for each level, used for bars, words and legend.
GOOD, FAIR = 0.99, 0.95
# A box of a unit a day, with room for the marks of incidents below the bars.
HEIGHT, _FLOOR, _WIDTH = 34, 28, 0.72
_MARK_TOP = 30


class DayLevel(StrEnum):
    """The state of a day, shown both by colour and by the height of its bar."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, share: float | None) -> "DayLevel":
        if share is None:
            return cls.UNKNOWN
        return cls.GOOD if share >= GOOD else cls.FAIR if share >= FAIR else cls.POOR

    @property
    def height(self) -> int:
        return {"good": 28, "fair": 20, "poor": 12, "unknown": 4}[self.value]

    @property
    def top(self) -> int:
        return _FLOOR - self.height

    @property
    def words(self) -> str:
        return {
            "good": f"{GOOD * 100:.0f} % or more",
            "fair": f"{FAIR * 100:.0f} to {GOOD * 100:.0f} %",
            "poor": f"under {FAIR * 100:.0f} %",
            "unknown": "no data",
        }[self.value]


@dataclass(frozen=True)
class Bars:
    """The bars of all days of a level as one path."""

    level: DayLevel
    path: str


@dataclass(frozen=True)
class Spot:
    """A day with a tooltip."""

    x: int
    title: str


@dataclass(frozen=True)
class Drawing:
    """A strip in a box of `width` by HEIGHT; `marks` is the path below the days with incidents, perhaps ''."""

    strip: RegionStrip
    width: int
    bars: list[Bars]
    marks: str
    spots: list[Spot]


def drawing(strip: RegionStrip) -> Drawing:
    paths: dict[DayLevel, list[str]] = defaultdict(list)
    marks, spots = [], []
    for x, day in enumerate(strip.days):
        level = DayLevel.of(day.minutes.share)
        paths[level].append(_bar(x, level.top, _FLOOR))
        if day.incidents:
            marks.append(_bar(x, _MARK_TOP, HEIGHT))
        if day.incidents or level in (DayLevel.FAIR, DayLevel.POOR):
            spots.append(Spot(x, title_of(day)))
    bars = [Bars(level, "".join(paths[level])) for level in DayLevel if level in paths]
    return Drawing(strip, len(strip.days), bars, "".join(marks), spots)


def drawings(strips: Sequence[RegionStrip]) -> list[Drawing]:
    return [drawing(strip) for strip in strips]


def title_of(day: RegionDay) -> str:
    available = f"{day.minutes.words} available" if day.minutes.expected else "no data"
    return f"{day.day:%-d %b %Y}: {'; '.join([available, *day.incidents])}"


def _bar(x: int, top: int, bottom: int) -> str:
    return f"M{x} {top}h{_WIDTH}V{bottom}h-{_WIDTH}z"
