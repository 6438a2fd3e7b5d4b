"""What the console says of the invented network: hours of the past, incidents, views that people keep."""

import math
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from jatevo.accounts.models import User
from jatevo.local.load.copying import copy_rows, moment
from jatevo.local.load.fleet import DAY, HOUR, MODELS, Fleet, dice
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate, Severity
from jatevo.overview.status import DAYS
from nodes.models import Exemption, ExemptionKind, SavedView

NETWORK = ""
INCIDENTS = 12
_HOUR = (
    "hour", "region", "active_nodes", "models_cached", "p95_ms", "probes", "requests", "tokens_input", "tokens_output",
    "errors", "minutes_up", "minutes_expected", "computed_at",
)  # fmt: skip


def write_hours(fleet: Fleet, *, receipts_per_day: float, seed: int, until: int) -> int:
    """The hours of each region and of the network from DAYS days ago to before `until`; how many rows."""
    draw = dice(seed, "hours")
    first = until - until % DAY - (DAYS - 1) * DAY
    silent: dict[tuple[str, int], int] = defaultdict(int)
    begun: dict[str, list[int]] = {}  # by region, the first whole hour of each of its nodes
    for region, members in fleet.of_region().items():
        known = [member for member in members if member.measured]
        begun[region] = sorted(member.first_whole_hour for member in known)
        for member in known:
            for hour, mask in member.gaps(max(first, member.first_whole_hour), until=until).items():
                silent[region, hour] += mask.bit_count()

    def rows() -> Iterator[tuple[Any, ...]]:
        for hour in range(first, until, HOUR):
            daily = 1 + 0.35 * math.sin(hour % DAY / DAY * 2 * math.pi)
            lines = [
                _line(bisect_right(hours, hour), silent[name, hour], receipts_per_day / 24 * daily, draw)
                for name, hours in begun.items()
            ]
            for name, line in zip(begun, lines, strict=True):
                yield moment(hour), name, line[0], None, *line[1:], moment(hour + HOUR)
            total = [sum(column) for column in zip(*lines, strict=True)]
            total[1] /= len(lines)
            yield moment(hour), NETWORK, total[0], len(MODELS), *total[1:], moment(hour + HOUR)

    return copy_rows("overview_regionhour", _HOUR, rows())


def _line(nodes: int, silent: int, receipts_per_node: float, draw: random.Random) -> list[float]:
    expected = nodes * 60
    up = expected - silent - int(draw.random() * 0.004 * expected)
    active = round(max(0, up) / 60)
    requests = round(active * receipts_per_node * draw.uniform(0.95, 1.05))
    p95_ms = round(700 * draw.uniform(0.9, 1.2), 1)
    return [active, p95_ms, active * 12, requests, requests * 1500, requests * 450, requests // 100, max(0, up), expected]  # fmt: skip


def write_incidents(fleet: Fleet, *, by: str, seed: int, now: int) -> int:
    """A dozen in the days of the status page, one under way and one maintenance ahead; how many."""
    draw = dice(seed, "incidents")
    regions = [NETWORK, *sorted(fleet.of_region())]
    for number in range(INCIDENTS):
        starts = now - draw.randint(1, (DAYS - 1) * 24) * HOUR
        ends = starts + draw.randint(1, 8) * HOUR // 2
        severity = draw.choice([Severity.INFO, Severity.WARN, Severity.MAJOR])
        _incident(f"Slow answers, case {number + 1}", draw.choice(regions), severity, starts, ends, by)
    _incident("Degraded network", regions[1], Severity.WARN, now - HOUR, None, by)
    Incident.objects.create(
        kind=IncidentKind.MAINTENANCE,
        title="Router replacement",
        region=regions[-1],
        starts_at=moment(now + DAY),
        ends_at=moment(now + DAY + 2 * HOUR),
        exempts_nodes=False,  # nothing is declared to the nodes
    )
    return INCIDENTS + 2


def _incident(title: str, region: str, severity: Severity, starts: int, ends: int | None, by: str) -> None:
    incident = Incident.objects.create(
        title=title,
        region=region,
        severity=severity,
        starts_at=moment(starts),
        resolved_at=moment(ends) if ends else None,
        description="Invented, to fill the pages.",
        exempts_nodes=False,
    )
    said = [(starts, IncidentState.INVESTIGATING, "We are looking into it.")]
    said.append((starts + 600, IncidentState.IDENTIFIED, "The cause is known."))
    if ends:
        said.append((ends, IncidentState.RESOLVED, "It is over."))
    IncidentUpdate.objects.bulk_create(
        IncidentUpdate(incident=incident, at=moment(at), state=state, text=text, by=by)
        for at, state, text in said
    )


def write_maintenance(fleet: Fleet, *, by: str, now: int) -> None:
    """A few nodes whose owners have announced maintenance."""
    Exemption.objects.bulk_create(
        Exemption(
            kind=ExemptionKind.MAINTENANCE,
            node_id=member.node_id,
            starts_at=moment(now - 600),
            message="New driver",
            created_by=by,
        )
        for member in fleet.members[:: max(1, len(fleet.members) // 10)]
    )


def write_views(users: list[User]) -> None:
    """The views that each of them keeps."""
    views = {"Slow in Asia": "?region=ap-southeast&sort=-p95", "Low reputation": "?reputation_range=0-60"}
    SavedView.objects.bulk_create(
        SavedView(user=user, name=name, query=query) for user in users for name, query in views.items()
    )
