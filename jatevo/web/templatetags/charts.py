"""Small SVG charts. The arithmetic is here, so that templates only insert numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 120.0, 32.0, 2.0


@dataclass(frozen=True)
class Sparkline:
    """The points of the polylines and of the area below, in a WIDTH by HEIGHT box. None leaves a gap."""

    lines: list[str]
    areas: list[str]
    width: float = WIDTH
    height: float = HEIGHT


def sparkline_of(values: Iterable[float | None]) -> Sparkline:
    """The sparkline of evenly spaced values, from 0 to their maximum.

    If all are 0, they lie on the base line.
    """
    points = list(values)
    top = max((value for value in points if value is not None), default=0) or 1
    step = WIDTH / (len(points) - 1) if len(points) > 1 else 0.0
    runs: list[list[tuple[float, float]]] = [[]]
    for position, value in enumerate(points):
        if value is None:
            runs.append([])
            continue
        runs[-1].append((position * step, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / top))
    drawn = [run if len(run) > 1 else [*run, (run[0][0] + 1, run[0][1])] for run in runs if run]
    return Sparkline(
        lines=[_points(run) for run in drawn],
        areas=[_points([(run[0][0], HEIGHT), *run, (run[-1][0], HEIGHT)]) for run in drawn],
    )


# A smaller change has no colour, because figures always change a little.
NOTEWORTHY = 0.02


@dataclass(frozen=True)
class ChangeInWords:
    """A change in words with an arrow, and the class of its colour (never the colour alone)."""

    words: str
    tone: str


def change_of(difference: float | None, ratio: float | None, good: str) -> ChangeInWords | None:
    """The change in words. `good` is the good direction: up, down, or '' for neither. None if unknown."""
    if difference is None:
        return None
    if round(difference, 1) == 0:
        return ChangeInWords("= unchanged", "text-muted")
    up = difference > 0
    amount = f"{abs(ratio) * 100:.1f} %" if ratio is not None else f"{abs(difference):,.0f}"
    words = f"▲ {amount} up" if up else f"▼ {amount} down"
    if not good or (ratio is not None and abs(ratio) < NOTEWORTHY):
        return ChangeInWords(words, "text-muted")
    return ChangeInWords(words, "text-ok" if up == (good == "up") else "text-warn")


def shares(values: Sequence[float | None]) -> list[float | None]:
    """Each value as a percentage of the largest, for the width of its bar. None stays None."""
    top = max((value for value in values if value is not None), default=0) or 1
    return [None if value is None else round(100 * value / top, 1) for value in values]


def _points(run: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
