"""How long each kind of work may wait for PostgreSQL.

The server enforces `statement_seconds` and `lock_seconds`. A server that is stopped or cut off cannot, so a
connection closes its socket if there is still no answer SLACK_SECONDS later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

# Leaves a working server time to cancel the statement itself and report it.
SLACK_SECONDS: Final = 0.25
# For a rollback, once a request's time is used up.
LAST_WORDS_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Work:
    """A kind of work with its limits. None is no limit.

    `total_seconds` is how long one request may wait in total, over all of its statements, of which
    `pool_seconds` for a connection. Kinds without `pool_seconds` use neither a pool nor the breaker. A
    connection that answered less than `fresh_seconds` ago is used without a check. Work that `needs_session`
    never goes through a PgBouncer in transaction mode. PostgreSQL plans prepared statements of work that `plans_once` for
    any values: it would plan those that take arrays of fewer than ten ids, or so, anew for each.
    """

    name: str
    statement_seconds: float | None
    lock_seconds: float
    total_seconds: float | None = None
    pool_seconds: float | None = None
    fresh_seconds: float = 0.0
    needs_session: bool = False
    plans_once: bool = False

    @property
    def answer_seconds(self) -> float | None:
        """After how long a statement counts as unanswered."""
        return None if self.statement_seconds is None else self.statement_seconds + SLACK_SECONDS

    @property
    def server_options(self) -> str:
        """The limits that the server enforces, in milliseconds, and how it plans, as libpq's `options`.

        The last limit makes the server notice within a second that the socket was closed, and cancel the
        statement.
        """
        limits = {
            "statement_timeout": self.statement_seconds or 0,
            "lock_timeout": self.lock_seconds,
            "client_connection_check_interval": 1.0,
        }
        options = {name: str(int(seconds * 1000)) for name, seconds in limits.items()}
        if self.plans_once:
            options["plan_cache_mode"] = "force_generic_plan"
        return " ".join(f"-c {name}={value}" for name, value in options.items())


INGEST: Final = Work(
    "ingest",
    statement_seconds=2,
    lock_seconds=1,
    total_seconds=2.25,
    pool_seconds=1.5,
    fresh_seconds=0.5,
    plans_once=True,
)
PAGE: Final = Work("page", statement_seconds=5, lock_seconds=2, total_seconds=5.25, pool_seconds=4)
# /readyz
READINESS: Final = Work("readiness", statement_seconds=1, lock_seconds=1, total_seconds=1, pool_seconds=1)
# procrastinate listens for notifications, and the accrual of earnings keeps temporary tables.
WORKER: Final = Work("worker", statement_seconds=60, lock_seconds=10, pool_seconds=5, needs_session=True)
# manage.py, mainly migrations. Creating an index may take long, but waiting for a lock would block other
# work.
COMMAND: Final = Work("command", statement_seconds=None, lock_seconds=10, needs_session=True)


@dataclass
class Purse:
    """The remaining time that a request may wait for PostgreSQL, in seconds."""

    left: float

    @property
    def left_for_answer(self) -> float:
        """The time left for an answer.

        Never 0, since a rollback may still take LAST_WORDS_SECONDS at the end.
        """
        return self.left if self.left > 0 else max(self.left + LAST_WORDS_SECONDS, 0.01)


_work: ContextVar[Work] = ContextVar("postgresql_work", default=COMMAND)
_purse: ContextVar[Purse | None] = ContextVar("postgresql_purse", default=None)


def current_work() -> Work:
    return _work.get()


def current_purse() -> Purse | None:
    return _purse.get()


@contextmanager
def working(work: Work) -> Iterator[None]:
    """Sets the kind of work for all queries within, in this thread or task and in those that it starts."""
    kind = _work.set(work)
    purse = _purse.set(None if work.total_seconds is None else Purse(work.total_seconds))
    try:
        yield
    finally:
        _work.reset(kind)
        _purse.reset(purse)
