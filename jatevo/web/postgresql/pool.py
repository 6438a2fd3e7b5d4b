"""A process's pool of connections for one kind of work, shared by all threads, with a limited wait."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from jatevo.web.postgresql.budgets import Work, current_purse
from jatevo.web.postgresql.connections import BoundedConnection, Unanswered, breaker

# How often somebody who waits for a connection looks whether the breaker has opened meanwhile.
LOOK_UP_SECONDS = 0.5


class BoundedPool(ConnectionPool[BoundedConnection]):
    """psycopg's pool behind the breaker. Each connection is checked before it is handed out.

    It starts empty. If it cannot connect it gives up at once, and tries again for the next caller.
    """

    def __init__(
        self,
        work: Work,
        *,
        size: int,
        kwargs: dict[str, Any],
        configure: Callable[[BoundedConnection], object],
    ) -> None:
        def set_up(connection: BoundedConnection) -> None:
            connection.answer_seconds = work.answer_seconds
            configure(connection)

        super().__init__(
            connection_class=BoundedConnection,
            kwargs=kwargs,
            configure=set_up,
            name=f"jatevo-{work.name}",
            min_size=0,
            max_size=size,
            timeout=work.pool_seconds or 0.0,
            max_idle=300.0,
            reconnect_timeout=0.0,
            open=False,
        )

    def getconn(self, timeout: float | None = None) -> BoundedConnection:
        """A connection that answers. Raises OperationalError: at once while the breaker is open, else within
        `timeout` seconds and a check; earlier if the request has no time left."""
        answered = breaker.closed
        if not breaker.allows():
            raise Unanswered("PostgreSQL did not answer a moment ago; it is asked again in a few seconds")
        purse, began = current_purse(), time.monotonic()
        until = began + (self.timeout if timeout is None else timeout)
        if purse is not None:
            until = min(until, began + purse.left)
        waited = 0.0
        try:
            while True:
                asked = time.monotonic()
                connection = self._next(until, answered=answered)
                waited += time.monotonic() - asked
                try:
                    connection.check()
                except psycopg.Error as error:
                    self.putconn(connection)
                    if isinstance(error, Unanswered):
                        breaker.failed(error)
                        raise
                    continue  # the server has closed this connection; the next one may be newer
                breaker.succeeded()
                return connection
        finally:
            if purse is not None:
                purse.left -= waited

    def _next(self, until: float, *, answered: bool) -> BoundedConnection:
        """A connection of the pool by `until` (monotonic seconds).

        A caller who came while PostgreSQL answered gives up when the breaker opens. One who came after that is
        the breaker's trial, and waits.
        """
        while True:
            left = until - time.monotonic()
            try:
                return super().getconn(min(left, LOOK_UP_SECONDS))
            except PoolTimeout:
                if left <= LOOK_UP_SECONDS:
                    raise
                if answered and not breaker.closed:
                    raise Unanswered("PostgreSQL did not answer somebody else just now") from None
