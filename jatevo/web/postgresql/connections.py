"""Connections with a time limit for every answer.

psycopg 3 uses libpq without blocking and waits only in `Connection.wait`. A limit there applies to every
statement, fetch, commit, rollback and COPY. It needs no signals or threads and works on Unix sockets, which
have no TCP time-outs.
"""

import math
import time
from collections.abc import AsyncGenerator
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import Notify
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

from jatevo.web.breaker import CircuitBreaker
from jatevo.web.postgresql.budgets import current_purse

RV = TypeVar("RV")

CHECK_SECONDS: Final = 1.0  # a working server answers an empty query in less than a thousandth of this
_INTERVAL: Final = 0.1  # psycopg's own, after which it looks for Ctrl-C

REPLICA_ALIAS: Final = "replica"  # in settings.DATABASES

breaker = CircuitBreaker("PostgreSQL")
# Longer, because the primary serves meanwhile, and each trial may cost a page a second.
replica_breaker = CircuitBreaker("PostgreSQL replica", open_seconds=10.0)


class Unanswered(psycopg.OperationalError):
    """PostgreSQL did not answer in time, and the connection was closed.

    The statement may still be executed.
    """


class BoundedConnection(psycopg.Connection[Any]):
    """Waits at most `answer_seconds` for an answer (None: no limit), and no longer than the request has time
    left.

    Failures to connect count towards opening the breaker. A successful connection closes it.
    """

    circuit = breaker
    most_pool_seconds = math.inf
    answer_seconds: float | None = None
    answered_at = -math.inf  # monotonic seconds

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        try:
            made = super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            cls.circuit.failed(error)
            raise
        cls.circuit.succeeded()
        return made

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        purse = current_purse()
        limit = self.answer_seconds
        if purse is not None:
            limit = purse.left_for_answer if limit is None else min(limit, purse.left_for_answer)
        if limit is None or (timeout is not None and timeout < limit):
            return super().wait(gen, interval, timeout)
        began = time.monotonic()
        try:
            answer = super().wait(gen, interval, limit)
            self.answered_at = time.monotonic()
            return answer
        except _WaitTimeout:
            self.pgconn.finish()  # a late answer must not be taken for the answer to the next statement
            raise Unanswered(f"PostgreSQL did not answer within {limit:.1f} s") from None
        finally:
            if purse is not None:
                purse.left -= time.monotonic() - began

    def check(self) -> None:
        """Checks that the server answers at once.

        Raises Unanswered, or another OperationalError if it is gone.
        """
        patience = self.answer_seconds
        self.answer_seconds = CHECK_SECONDS
        try:
            self.execute("")
        finally:
            self.answer_seconds = patience


class ReplicaConnection(BoundedConnection):
    """A connection with the streaming replica. Its failures do not count against the primary."""

    circuit = replica_breaker
    most_pool_seconds = 1.0  # leaves a page time for the primary


class BoundedAsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for an event loop.

    Waiting for notifications has no limit, because there may be none for hours.
    """

    answer_seconds: float | None = None
    _listening = False

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        try:
            made = await super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            breaker.failed(error)
            raise
        breaker.succeeded()
        return made

    async def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        limit = None if self._listening else self.answer_seconds
        if limit is None or (timeout is not None and timeout < limit):
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, limit)
        except _WaitTimeout:
            self.pgconn.finish()
            raise Unanswered(f"PostgreSQL did not answer within {limit:.1f} s") from None

    async def notifies(
        self, *, timeout: float | None = None, stop_after: int | None = None
    ) -> AsyncGenerator[Notify]:
        self._listening = (
            True  # no statement runs in the meantime, because psycopg holds the connection's lock
        )
        try:
            async for notification in super().notifies(timeout=timeout, stop_after=stop_after):
                yield notification
        finally:
            self._listening = False
