"""The hours of each region and of the network, as the summariser stores them."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jatevo.local.history.copying import copy_rows, moment
from jatevo.local.history.fleet import DAY, HOUR, InventedFleet, dice

NETWORK = ""
_HOUR = (
    "hour", "region", "active_nodes", "models_cached", "p95_ms", "probes", "requests", "tokens_input", "tokens_output",
    "errors", "minutes_up", "minutes_expected", "computed_at",
)  # fmt: skip


@dataclass
class ServedTraffic:
    """What a region served in an hour."""

    requests: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    errors: int = 0


def write_hours(
    fleet: InventedFleet,
    *,
    first: int,
    until: int,
    seed: int,
    traffic: Callable[[str, int, int], ServedTraffic],
    typical_p95_ms: float = 700,
) -> int:
    """Writes the hours `first <= t < until` (unix seconds, whole hours). Returns the number of rows.

    `traffic(region, hour, active_nodes)` returns what a region's nodes served in an hour.
    """
    draw = dice(seed, "hours")
    silent: dict[tuple[str, int], int] = defaultdict(int)
    begun: dict[str, list[int]] = {}  # by region, the first whole hour of each of its nodes
    for region, members in fleet.of_region().items():
        known = [member for member in members if member.measured]
        begun[region] = sorted(member.first_whole_hour for member in known)
        for member in known:
            for hour, mask in member.gaps(max(first, member.first_whole_hour), until=until).items():
                silent[region, hour] += mask.bit_count()

    def line(region: str, hour: int) -> list[float]:
        expected = bisect_right(begun[region], hour) * 60
        up = max(0, expected - silent[region, hour] - int(draw.random() * 0.004 * expected))
        active = round(up / 60)
        p95_ms = round(typical_p95_ms * daily_curve(hour) * draw.uniform(0.9, 1.1), 1)
        served = traffic(region, hour, active)
        return [
            active, p95_ms, active * 12, served.requests, served.tokens_input, served.tokens_output, served.errors,
            up, expected,
        ]  # fmt: skip

    def rows() -> Iterator[tuple[Any, ...]]:
        for hour in range(first, until, HOUR):
            lines = {region: line(region, hour) for region in begun}
            for region, each in lines.items():
                yield moment(hour), region, each[0], None, *each[1:], moment(hour + HOUR)
            total = [sum(column) for column in zip(*lines.values(), strict=True)]
            total[1] /= len(lines)
            yield moment(hour), NETWORK, total[0], len(fleet.models), *total[1:], moment(hour + HOUR)

    return copy_rows("overview_regionhour", _HOUR, rows())


def daily_curve(hour: int) -> float:
    """The load of an hour of the day, relative to the average of 1."""
    return 1 + 0.35 * math.sin(hour % DAY / DAY * 2 * math.pi)
