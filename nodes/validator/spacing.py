"""The least time between two probes of the same kind of a node.

The console decides what is due. But it learns of a probe only when its result arrives, and a failure of the
validator itself leaves the probe due. So a probe of one kind of one node is not repeated before the time
below has passed, unless the node's status has changed.
"""

from collections.abc import Iterable

from nodes.rules.probes import ProbeKind
from nodes.validator.console import Assignment

LEAST_SECONDS = 30.0
# Three failures in a row quarantine a node that is starting. The spacing must be longer than a slow start.
PENDING_LEAST_SECONDS = 5.0
FORGET_AFTER_SECONDS = 600.0

_PRIORITIES = {"pending": 0, "quarantine": 1}
_LOWEST_PRIORITY = 2


def priority(status: str) -> int:
    """The priority of a status; smaller is sooner.

    Pending nodes come first, because their operators wait for the first probe.
    """
    return _PRIORITIES.get(status, _LOWEST_PRIORITY)


def least_seconds(status: str) -> float:
    return PENDING_LEAST_SECONDS if status == "pending" else LEAST_SECONDS


class Spacing:
    """Remembers when each node was probed, and in which status. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._started: dict[tuple[str, ProbeKind], tuple[str, float]] = {}

    def take(self, nodes: Iterable[Assignment], *, at: float) -> list[tuple[Assignment, ProbeKind]]:
        """Returns what to probe now, in order of priority, and notes it as started."""
        self._forget_before(at - FORGET_AFTER_SECONDS)
        taken = []
        for node in sorted(nodes, key=lambda node: priority(node.status)):
            for kind in sorted(node.due):
                key = (node.target.node_id, kind)
                status, started = self._started.get(key, ("", at))
                if status != node.status or at - started >= least_seconds(node.status):
                    self._started[key] = (node.status, at)
                    taken.append((node, kind))
        return taken

    def _forget_before(self, limit: float) -> None:
        self._started = {key: entry for key, entry in self._started.items() if entry[1] >= limit}
