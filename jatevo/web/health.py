"""Whether this process is ready to serve: what whoever started it says, and what its stores say.

Each store has a check, registered by the app that knows the store. PostgreSQL is the one that nothing goes on without.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.db import DatabaseError, InterfaceError, connection

from jatevo.web.postgresql.budgets import READINESS, working
from jatevo.web.throttling import redis_is_up

REMEMBER_SECONDS: Final = 1.0  # however many ask, the stores are asked once in so long

StoreCheck = Callable[[], bool]


class Readiness(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"  # serves, without something that can be done without
    UNAVAILABLE = "unavailable"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Health:
    """`stores` says of each store whether it answers."""

    readiness: Readiness
    stores: dict[str, bool]

    @property
    def serves(self) -> bool:
        return self.readiness in {Readiness.READY, Readiness.DEGRADED}


_state = Readiness.READY  # a plain web process is ready once it answers; the one-machine run says otherwise
_checks: dict[str, StoreCheck] = {}
_asking = threading.Lock()
_last: tuple[float, dict[str, bool]] | None = None


def register_store(name: str, check: StoreCheck) -> None:
    """`check` says whether the store answers, within a second or so, and never raises."""
    _checks[name] = check


def mark_starting() -> None:
    _set(Readiness.STARTING)


def mark_ready() -> None:
    _set(Readiness.READY)


def mark_stopping() -> None:
    _set(Readiness.STOPPING)


def readiness() -> Readiness:
    """What whoever started the process says of it. Asks no store."""
    return _state


def health() -> Health:
    """Both. Within about two seconds, and at once while another thread asks."""
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
        if found is None or found is last:  # nobody else has asked meanwhile
            found = _last = (time.monotonic(), {name: check() for name, check in _checks.items()})
        return found[1]
    finally:
        _asking.release()


def forget() -> None:
    """As in a process that has just started."""
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
