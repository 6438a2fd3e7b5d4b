"""Whether this process is ready to serve, from the state set by its starter and from checks of its stores.

The app that uses a store registers its check. Only PostgreSQL is required.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.db import DatabaseError, InterfaceError, connection

from jatevo.web.postgresql import replica
from jatevo.web.postgresql.budgets import READINESS, working
from jatevo.web.throttling import redis_is_up

REMEMBER_SECONDS: Final = 1.0  # results are reused for this long, however many requests ask

StoreCheck = Callable[[], bool]


class Readiness(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"  # serves without a store that is not required
    UNAVAILABLE = "unavailable"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Health:
    """The state of the process. `stores` has whether each store answers."""

    readiness: Readiness
    stores: dict[str, bool]

    @property
    def serves(self) -> bool:
        return self.readiness in {Readiness.READY, Readiness.DEGRADED}


_state = (
    Readiness.READY
)  # a plain web process is ready once it answers; the one-machine run sets other states
_checks: dict[str, StoreCheck] = {}
_asking = threading.Lock()
_last: tuple[float, dict[str, bool]] | None = None


def register_store(name: str, check: StoreCheck) -> None:
    """Registers a store.

    `check` returns within about a second whether the store answers, and never raises.
    """
    _checks[name] = check


def mark_starting() -> None:
    _set(Readiness.STARTING)


def mark_ready() -> None:
    _set(Readiness.READY)


def mark_stopping() -> None:
    _set(Readiness.STOPPING)


def readiness() -> Readiness:
    """The state that the process was given by its starter. Asks no store."""
    return _state


def health() -> Health:
    """The readiness and the state of the stores, within about two seconds, or at once while another thread
    asks.
    """
    stores = _stores()
    if _state is not Readiness.READY:
        return Health(_state, stores)
    if not stores[POSTGRESQL]:
        return Health(Readiness.UNAVAILABLE, stores)
    return Health(Readiness.READY if all(stores.values()) else Readiness.DEGRADED, stores)


def _stores() -> dict[str, bool]:
    global _last
    last = _last
    if last is None:
        _asking.acquire()
    elif time.monotonic() - last[0] < REMEMBER_SECONDS or not _asking.acquire(blocking=False):
        return last[1]
    try:
        found = _last
        if found is None or found is last:  # no other thread has asked in the meantime
            found = _last = (time.monotonic(), {name: check() for name, check in _checks.items()})
        return found[1]
    finally:
        _asking.release()


def forget() -> None:
    """Restores the state of a new process."""
    global _last
    _last = None


def _set(state: Readiness) -> None:
    global _state
    _state = state


def _postgresql_answers() -> bool:
    with working(READINESS):
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (DatabaseError, InterfaceError):
            return False
    return True


POSTGRESQL: Final = "postgresql"
register_store(POSTGRESQL, _postgresql_answers)
register_store("redis", redis_is_up)
if replica.is_configured():
    register_store("postgresql_replica", replica.answers)
