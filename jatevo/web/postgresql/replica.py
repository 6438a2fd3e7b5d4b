"""Reads from a streaming replica (setting DATABASE_REPLICA_URL) that are as fresh as reads from the primary.

`read` asks the primary how far its log is, and uses the replica only once it has replayed that. So whatever was committed
before is seen: what the person has just done, who may see what, and what has arrived. No figure or moment on a page
depends on which server it came from. If the replica is further behind than a page can wait, or does not answer, the
primary is read, and the replica is not asked for some seconds.

Everything outside of `read` uses the primary, and everything that writes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import structlog
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import QueryCanceled

from jatevo.telemetry import metrics
from jatevo.web.breaker import CircuitBreaker
from jatevo.web.postgresql.budgets import READINESS, working
from jatevo.web.postgresql.connections import REPLICA_ALIAS, replica_breaker

WAIT_SECONDS: Final = 0.25  # for the replica to catch up
_LOOK_SECONDS: Final = 0.01
_POSITION: Final = "SELECT pg_current_wal_flush_lsn()"
# A server that was promoted has a history of its own.
_HAS_REPLAYED: Final = "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %s::pg_lsn"

log = structlog.get_logger(__name__)
T = TypeVar("T")

# While it is open, the replica is too far behind to be asked.
lag_breaker: Final = CircuitBreaker("PostgreSQL replica: behind", open_seconds=5.0)
_reading: ContextVar[bool] = ContextVar("reading_from_replica", default=False)


class ReadingRouter:
    """Django's queries go to the replica within `read`, and nowhere else."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return REPLICA_ALIAS if _reading.get() else DEFAULT_DB_ALIAS

    def db_for_write(self, model: object, **hints: object) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: object, other: object, **hints: object) -> bool:
        return True  # both servers have the same rows

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db == DEFAULT_DB_ALIAS


def is_configured() -> bool:
    return REPLICA_ALIAS in connections.databases


def read(work: Callable[[], T]) -> T:
    """The result of `work`, which only reads. Its queries go to the replica if that is fit, else to the primary.

    `work` runs again on the primary if the replica fails or cancels it. It must evaluate its querysets.
    """
    # within a transaction, its own rows are to be seen
    if not is_configured() or _reading.get() or connection.in_atomic_block or not _is_up_to_date():
        return work()
    token = _reading.set(True)
    try:
        found = work()
        metrics.replica_read(True)
        return found
    except (OperationalError, InterfaceError) as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise  # it takes too long, which it would on the primary as well
        # Perhaps the replica had to cancel it: rows that it read were removed on the primary (a conflict with recovery).
        log.info("a read from the replica failed", error=str(error).strip())
    finally:
        _reading.reset(token)
    metrics.replica_read(False)
    return work()


@contextmanager
def from_primary() -> Iterator[None]:
    """Within `read`, for what must come from the primary, such as what is compared with it."""
    token = _reading.set(False)
    try:
        yield
    finally:
        _reading.reset(token)


def reading_connection() -> BaseDatabaseWrapper:
    """The connection of present reads, for statements that are not Django's."""
    return connections[REPLICA_ALIAS if _reading.get() else DEFAULT_DB_ALIAS]


def answers() -> bool:
    """Whether the replica answers and is not far behind. Never raises."""
    with working(READINESS):
        try:
            return _is_up_to_date()
        except (DatabaseError, InterfaceError):
            return False  # of the primary


def _is_up_to_date() -> bool:
    """Whether the replica has what the primary has now. Waits for that for WAIT_SECONDS."""
    if not lag_breaker.allows():
        metrics.replica_read(False)
        return False
    position = _one(connection, _POSITION)
    try:
        until = time.monotonic() + WAIT_SECONDS
        while not _one(connections[REPLICA_ALIAS], _HAS_REPLAYED, position):
            if time.monotonic() >= until:
                lag_breaker.failed(f"it has not replayed {position} after {WAIT_SECONDS:g} s")
                metrics.replica_read(False)
                return False
            time.sleep(_LOOK_SECONDS)
    except (OperationalError, InterfaceError) as error:
        if replica_breaker.closed:
            replica_breaker.failed(error)
        metrics.replica_read(False)
        return False
    lag_breaker.succeeded()
    return True


def _one(server: BaseDatabaseWrapper, statement: str, *params: str) -> Any:
    with server.cursor() as cursor:
        cursor.execute(statement, params)
        ((value,),) = cursor.fetchall()
    return value


def forget() -> None:
    """Restores the state of a new process."""
    for breaker in (lag_breaker, replica_breaker):
        breaker.reset()
