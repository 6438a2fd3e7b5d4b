"""Detects that most nodes fell silent at once, which means an outage of the console or its network. Pure.

Machines of many owners do not stop within the same two minutes by coincidence. Why the rule asks for both
most nodes and most organisations is in docs/decisions/0008-whose-outage.md.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# With fewer active nodes, a common silence may be a coincidence or one person's doing.
FEWEST_NODES = 5
_LONGEST_SILENT_AFTER = timedelta(minutes=1)
_LONGEST_WITHIN = timedelta(minutes=2)
# Nodes that have not come back by then count as gone, and no outage excuses them any longer.
LONGEST_OUTAGE = timedelta(hours=24)


@dataclass(frozen=True)
class LastHeard:
    """An active node's organisation, and when its last heartbeat came."""

    org: Hashable
    at: datetime


@dataclass(frozen=True)
class CommonSilence:
    """A common silence since a moment: `silent` of `active` nodes, in `silent_orgs` of `orgs` organisations."""

    since: datetime
    silent: int
    active: int
    silent_orgs: int
    orgs: int


def common_silence(
    nodes: Sequence[LastHeard], *, at: datetime, offline_after: timedelta
) -> CommonSilence | None:
    """The common silence that has begun, or None. It is detected before the first node would go offline.

    Most nodes, and most nodes of most organisations, must have fallen silent within two minutes and stayed
    silent for a minute (less if nodes go offline after less than five minutes). Nodes that fell silent
    earlier or later do not count as silent.
    """
    if len(nodes) < FEWEST_NODES:
        return None
    silent = sorted(
        (
            node
            for node in nodes
            if is_silent(node.at, at=at, offline_after=offline_after) and not has_left(node.at, at=at)
        ),
        key=lambda node: node.at,
    )
    group = _largest_group(silent, min(_LONGEST_WITHIN, 2 * offline_after / 5))
    if 2 * len(group) <= len(nodes):
        return None
    orgs, silent_orgs = _orgs(nodes), _orgs(group)
    fallen = sum(2 * silent_orgs[org] > count for org, count in orgs.items())
    if 2 * fallen <= len(orgs):
        return None
    return CommonSilence(group[0].at, len(group), len(nodes), fallen, len(orgs))


def lasts(nodes: Collection[LastHeard], *, since: datetime, at: datetime, offline_after: timedelta) -> bool:
    """Whether an outage that began at `since` continues, because most active nodes are still silent."""
    silent = sum(is_silent(node.at, at=at, offline_after=offline_after) for node in nodes)
    return 2 * silent > len(nodes) and at - since < LONGEST_OUTAGE


def is_silent(heard_at: datetime, *, at: datetime, offline_after: timedelta) -> bool:
    return at - heard_at >= min(_LONGEST_SILENT_AFTER, offline_after / 5)


def has_left(heard_at: datetime, *, at: datetime) -> bool:
    """Whether a node has been silent for longer than an outage may last, so that it is not part of a new one."""
    return at - heard_at >= LONGEST_OUTAGE - _LONGEST_WITHIN


def _largest_group(silent: Sequence[LastHeard], within: timedelta) -> Sequence[LastHeard]:
    """The largest group of nodes whose silence began within that time of each other.

    Of equals, the earliest.
    """
    first = best = best_end = 0
    for end, node in enumerate(silent, start=1):
        while node.at - silent[first].at > within:
            first += 1
        if end - first > best_end - best:
            best, best_end = first, end
    return silent[best:best_end]


def _orgs(nodes: Collection[LastHeard]) -> dict[Hashable, int]:
    counts: dict[Hashable, int] = defaultdict(int)
    for node in nodes:
        counts[node.org] += 1
    return counts
