"""A scale of shades that adapts to the values shown, with about a fifth of them in each shade. Pure.

With fixed steps, a large fleet with similar regions and hours would show only one or two shades.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10

SHADES = 5


@dataclass(frozen=True)
class Shade:
    """One step of a legend: `number` 1 (lowest) to SHADES, and the range in words."""

    number: int
    words: str


@dataclass(frozen=True)
class Scale:
    """`bounds` are where the second, third … step begins; fewer than SHADES - 1 where the values are alike."""

    least: float
    most: float
    bounds: tuple[float, ...]

    def shade(self, value: float | None) -> int:
        """The shade of a value, from 1 to SHADES, spread over the existing steps. 0 for None."""
        if value is None:
            return 0
        return self._number(sum(value >= bound for bound in self.bounds))

    def legend(self, write: Callable[[float], str], unit: str = "") -> list[Shade]:
        """The steps with their ranges, lowest first."""
        after = f" {unit}" if unit else ""
        if not self.bounds:
            low, high = write(self.least), write(self.most)
            return [Shade(1, f"all {low}{after}" if low == high else f"all {low} to {high}{after}")]
        bounds = [write(bound) for bound in self.bounds]
        between = [f"{low} to {high}{after}" for low, high in pairwise(bounds)]
        words = [f"under {bounds[0]}{after}", *between, f"{bounds[-1]}{after} or more"]
        return [Shade(self._number(step), text) for step, text in enumerate(words)]

    def _number(self, step: int) -> int:
        return 1 + round(step * (SHADES - 1) / len(self.bounds)) if self.bounds else 1


def scale_over(values: Iterable[float | None]) -> Scale | None:
    """The scale of these values, None if none is known. Steps begin at numbers of two digits."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    bounds: list[float] = []
    for fifth in range(1, SHADES):
        bound = _two_digits(_quantile(known, fifth / SHADES))
        if bound > max([known[0], *bounds]):
            bounds.append(bound)
    return Scale(known[0], known[-1], tuple(bounds))


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(floor(share * len(ordered)), len(ordered) - 1)]


def _two_digits(value: float) -> float:
    """Rounded down to two digits, so that the value that gave the bound lies above it: 437 is 430."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (floor(log10(value)) - 1)
    return round(floor(round(value / unit, 9)) * unit, 6)
