"""How long which kind of work may wait for PostgreSQL.

`statement_seconds` and `lock_seconds` are the server's own limits. A server that is stopped or cut off obeys
neither, so that a connection closes its socket when no answer has come SLACK_SECONDS later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

# A server that is well ends a statement itself, and says so, before we stop listening.
SLACK_SECONDS: Final = 0.25
# What is left for a rollback once a request's own time is up.
LAST_WORDS_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Work:
    """A kind of work. None is no limit.

    `total_seconds` is what one request may wait in all, over all of its statements; `pool_seconds` of them for
    a connection. Kinds without `pool_seconds` take no connection from a pool, and ask no breaker.
    """

    name: str
    statement_seconds: float | None
    lock_seconds: float
    total_seconds: float | None = None
    pool_seconds: float | None = None

    @property
    def answer_seconds(self) -> float | None:
        """When a statement's answer no longer comes."""
        return None if self.statement_seconds is None else self.statement_seconds + SLACK_SECONDS

    @property
    def server_options(self) -> str:
        """The server's half of the limits, as libpq's `options`; times in milliseconds.

        The last one lets the server notice within a second that we have closed the socket, and give up too.
        """
        limits = {
            "statement_timeout": self.statement_seconds or 0,
            "lock_timeout": self.lock_seconds,
            "client_connection_check_interval": 1.0,
        }
        return " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())


INGEST: Final = Work("ingest", statement_seconds=2, lock_seconds=1, total_seconds=2.25, pool_seconds=1.5)
PAGE: Final = Work("page", statement_seconds=5, lock_seconds=2, total_seconds=5.25, pool_seconds=4)
# /readyz
READINESS: Final = Work("readiness", statement_seconds=1, lock_seconds=1, total_seconds=1, pool_seconds=1)
WORKER: Final = Work("worker", statement_seconds=60, lock_seconds=10, pool_seconds=5)
# manage.py, migrations above all: an index takes its time, but nobody queues behind a lock that it waits for.
COMMAND: Final = Work("command", statement_seconds=None, lock_seconds=10)


@dataclass
class Purse:
    """What a request may still wait, in seconds."""

    left: float

    @property
    def left_for_answer(self) -> float:
        """Once all is spent, a rollback may still take LAST_WORDS_SECONDS; never 0, which is no question at all."""
        return self.left if self.left > 0 else max(self.left + LAST_WORDS_SECONDS, 0.01)


_work: ContextVar[Work] = ContextVar("postgresql_work", default=COMMAND)
_purse: ContextVar[Purse | None] = ContextVar("postgresql_purse", default=None)


def current_work() -> Work:
    return _work.get()


def current_purse() -> Purse | None:
    return _purse.get()


@contextmanager
def working(work: Work) -> Iterator[None]:
    """All waiting for PostgreSQL within is of this kind; in this thread, task, and what they start."""
    kind = _work.set(work)
    purse = _purse.set(None if work.total_seconds is None else Purse(work.total_seconds))
    try:
        yield
    finally:
        _work.reset(kind)
        _purse.reset(purse)
