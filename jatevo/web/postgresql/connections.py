"""Connections that stop listening in time.

psycopg 3 drives libpq without blocking and waits in one place, `Connection.wait`, so that a limit there holds for
every statement, fetch, commit, rollback and COPY. It needs no signal and no thread, and works on Unix sockets,
where TCP's own time-outs do not exist.
"""

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

CHECK_SECONDS: Final = 1.0  # a server that is well answers an empty query in less than a thousandth of that
_INTERVAL: Final = 0.1  # psycopg's own, after which it looks for Ctrl-C

breaker = CircuitBreaker("PostgreSQL")


class Unanswered(psycopg.OperationalError):
    """PostgreSQL did not answer in time, and the connection is closed. What it was asked to do may still happen."""


class BoundedConnection(psycopg.Connection[Any]):
    """Waits `answer_seconds` for an answer (None is for ever), and no longer than the request may at all.

    A connection that cannot be made opens the breaker; one that is made closes it.
    """

    answer_seconds: float | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        try:
            made = super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            breaker.failed(error)
            raise
        breaker.succeeded()
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
            return super().wait(gen, interval, limit)
        except _WaitTimeout:
            self.pgconn.finish()  # the answer may still come, and must not be taken for that of the next question
            raise Unanswered(f"PostgreSQL did not answer within {limit:.1f} s") from None
        finally:
            if purse is not None:
                purse.left -= time.monotonic() - began

    def check(self) -> None:
        """Returns if the server answers at once. Raises Unanswered, or another OperationalError if it has gone."""
        patience = self.answer_seconds
        self.answer_seconds = CHECK_SECONDS
        try:
            self.execute("")
        finally:
            self.answer_seconds = patience


class BoundedAsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for an event loop. Waiting for notifications has no limit: there may be none for hours."""

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
        self._listening = True  # nothing else is asked meanwhile: psycopg holds the connection's lock
        try:
            async for notification in super().notifies(timeout=timeout, stop_after=stop_after):
                yield notification
        finally:
            self._listening = False
