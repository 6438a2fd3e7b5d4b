"""Shared parts of the figures' tests: facts in ClickHouse, and probes of a region."""

from uuid import uuid4

from jatevo.metrics.facts import Fact
from jatevo.metrics.store import Store
from jatevo.metrics.writer import write
from tests.metrics.wrappers import NOON_SECONDS, latency


def ship(store: Store, *facts: Fact) -> None:
    write(store, uuid4(), list(enumerate(facts)))


def probes(region: str, p95_ms: float, count: int = 5) -> list[Fact]:
    """Probes of this number of nodes, in the quarter of an hour before noon."""
    return [
        latency(
            f"{region}-{number}",
            node_id=f"{region}-{number}",
            region=region,
            p95=p95_ms,
            ts=NOON_SECONDS - 60 * number - 1,
        )
        for number in range(count)
    ]
