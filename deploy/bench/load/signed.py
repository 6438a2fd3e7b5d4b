"""Signed receipts of earlier days, written by several processes at once.

A process writes one day after another, each in the order of acceptance and in a transaction of its own. Signing takes
most of the time, so the work is shared by as many processes as the machine has cores.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from uuid import UUID

from django.db import connection, connections, transaction

from bench.load.fleet import invent
from jatevo.local.history.copying import unchecked_references
from jatevo.local.history.fleet import DAY, InventedFleet, dice
from jatevo.local.history.measurements import cells_of
from jatevo.metrics.transport import Row


@dataclass(frozen=True)
class SignedDays:
    """Receipts of whole days of the fleet that `invent()` makes of the same arguments."""

    nodes: int
    days: int
    seed: int
    now: int
    orgs: Sequence[UUID]
    per_node_day: float
    gateway: str
    dispatched_share: float
    database: str = field(default_factory=lambda: connection.settings_dict["NAME"])

    def write(self, first: int, until: int, *, processes: int = 0) -> Iterator[list[Row]]:
        """Writes the receipts from `first` until `until` (unix seconds). Yields those of each day as rows of facts."""
        starts = range(first, until, DAY)
        spawned = get_context("spawn")  # a forked child would share this process's connections
        with ProcessPoolExecutor(
            processes or os.cpu_count() or 1, spawned, initializer=_begin, initargs=(self,)
        ) as pool:
            yield from pool.map(_write_day, starts, [min(start + DAY, until) for start in starts])


_fleet: InventedFleet
_wish: SignedDays


def _begin(wish: SignedDays) -> None:
    global _fleet, _wish
    import django
    from django.conf import settings

    django.setup()
    settings.DATABASES["default"]["NAME"] = wish.database
    connections["default"].settings_dict["NAME"] = wish.database
    _wish, _fleet = wish, invent(nodes=wish.nodes, days=wish.days, seed=wish.seed, now=wish.now)


def _write_day(first: int, until: int) -> list[Row]:
    # a spawned process imports this module before it has set up Django, and models can only be imported after that
    from jatevo.local.history import receipts

    with transaction.atomic(), unchecked_references():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")  # a load that a power cut ends begins again
        facts = receipts.write_receipts(
            _fleet,
            _wish.orgs,
            first=first,
            until=until,
            per_node_day=_wish.per_node_day,
            draw=dice(_wish.seed, f"receipts from {first}"),
            gateway=_wish.gateway,
            dispatched_share=_wish.dispatched_share,
        )
    return list(map(cells_of, facts))
