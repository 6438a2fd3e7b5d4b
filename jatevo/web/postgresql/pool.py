"""A process's pool of connections for one kind of work, shared by all threads, with a limited wait."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from jatevo.web.postgresql.budgets import Work, current_purse
from jatevo.web.postgresql.connections import BoundedConnection, Unanswered


class BoundedPool(ConnectionPool[BoundedConnection]):
    """psycopg's pool behind the breaker. A connection is checked before it is handed out, unless it answered just now.

    It starts empty. If it cannot connect it gives up at once, and tries again for the next caller.
    """

    def __init__(
        self,
        work: Work,
        *,
        size: int,
        kwargs: dict[str, Any],
        configure: Callable[[BoundedConnection], object],
        connection_class: type[BoundedConnection] = BoundedConnection,
    ) -> None:
        def set_up(connection: BoundedConnection) -> None:
            connection.answer_seconds = work.answer_seconds
            configure(connection)

        self.work = work
        self._breaker = connection_class.circuit
        super().__init__(
            connection_class=connection_class,
            kwargs=kwargs,
            configure=set_up,
            name=f"jatevo-{work.name}",
            min_size=0,
            max_size=size,
            timeout=min(work.pool_seconds or 0.0, connection_class.most_pool_seconds),
            max_idle=300.0,
            reconnect_timeout=0.0,
            open=False,
        )

    def getconn(self, timeout: float | None = None) -> BoundedConnection:
        """A connection that answers. Raises OperationalError: at once while the breaker is open, else within
        `timeout` seconds and a check; earlier if the request has no time left."""
        if not self._breaker.allows():
            raise Unanswered("PostgreSQL did not answer a moment ago; it is asked again in a few seconds")
        purse, began = current_purse(), time.monotonic()
        until = began + (self.timeout if timeout is None else timeout)
        if purse is not None:
            until = min(until, began + purse.left)
        waited = 0.0
        try:
            while True:
                asked = time.monotonic()
                connection = super().getconn(until - asked)
                now = time.monotonic()
                waited += now - asked
                if self._breaker.closed and now - connection.answered_at < self.work.fresh_seconds:
                    return connection
                try:
                    connection.check()
                except psycopg.Error as error:
                    self.putconn(connection)
                    if isinstance(error, Unanswered):
                        self._breaker.failed(error)
                        raise
                    continue  # the server has closed this connection; the next one may be newer
                self._breaker.succeeded()
                return connection
        finally:
            if purse is not None:
                purse.left -= waited
