"""A ClickHouse server (18.16 or later) over its native protocol, with clickhouse-driver."""

import os
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from clickhouse_driver import Client, errors
from clickhouse_driver.util.helpers import parse_url

from jatevo.metrics.cells import cells_to_insert, plain_rows
from jatevo.metrics.cluster import Cluster
from jatevo.metrics.quoting import bind, identifier
from jatevo.metrics.transport import (
    TYPE_MISMATCH,
    Cell,
    MetricsUnavailable,
    Param,
    QueryRefused,
    Row,
    refusal,
)

# A pooled connection is pinged before use. If the ping fails, a new connection is made. The shares of the
# timeout add up to one, so that a caller waits for a hung server no longer than the whole timeout.
_PING_SHARE = 0.25
_ANSWER_SHARE = 0.75

# clickhouse-driver raises these for values that a column cannot hold.
_PACKING_ERRORS = (AttributeError, TypeError, ValueError, OverflowError, struct.error)


class NativeTransport:
    """A Transport on the server of `url`, `clickhouse://user:password@host:9000/database`.

    Keeps as many connections as were ever in use at once. A query may take `timeout_seconds`, or
    `answer_seconds` if given. Connecting may always take `timeout_seconds`. `defaults` are settings of each query,
    which the url's override.
    """

    cluster: Cluster | None = None

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        answer_seconds: float | None = None,
        defaults: Mapping[str, int | str] | None = None,
    ) -> None:
        self._host, options = parse_url(url)
        self._database: str = options.get("database", "default")
        connect_seconds = timeout_seconds * _ANSWER_SHARE
        query_seconds = answer_seconds or timeout_seconds
        self._options = {
            **options,
            "connect_timeout": connect_seconds,
            "send_receive_timeout": answer_seconds or connect_seconds,
            "sync_request_timeout": timeout_seconds * _PING_SHARE,
            # In whole seconds. 0 would mean no limit.
            "settings": {
                **(defaults or {}),
                **options.get("settings", {}),
                "max_execution_time": max(1, int(query_seconds)),
            },
        }
        self._lock = threading.Lock()
        self._idle: list[Client] = []
        self._owner_pid = os.getpid()

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        bound = bind(sql, params)
        with self._client() as client:
            answer = client.execute(bound, with_column_types=True)
        if not isinstance(answer, tuple):
            return []  # a statement without rows
        rows, columns = answer
        return plain_rows(columns, rows)

    def execute_on_each(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        self.execute(sql, params)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        if not rows:
            return
        names = ", ".join(identifier(column) for column in columns)
        statement = f"INSERT INTO {identifier(table)} ({names}) VALUES"
        with self._client() as client:
            try:
                client.execute(statement, [cells_to_insert(row) for row in rows])
            except (
                errors.TypeMismatchError,
                errors.CannotParseUuidError,
                errors.TooLargeStringSize,
            ) as error:
                raise QueryRefused(str(error), error.code) from error
            except _PACKING_ERRORS as error:
                raise QueryRefused(f"{table}: {error}", TYPE_MISMATCH) from error

    def create_database(self) -> None:
        client = Client(self._host, **{**self._options, "database": "default"})
        try:
            with _translated():
                client.execute(f"CREATE DATABASE IF NOT EXISTS {identifier(self._database)}")
        finally:
            client.disconnect()

    def ping(self) -> None:
        self.execute("SELECT 1")

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.disconnect()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """A connection for one statement. It returns to the pool only if the statement succeeded."""
        self._forget_parent()
        with self._lock:
            client = self._idle.pop() if self._idle else Client(self._host, **self._options)
        in_order = False
        try:
            with _translated():
                yield client
            in_order = True
        finally:
            if in_order:
                with self._lock:
                    self._idle.append(client)
            else:
                client.disconnect()

    def _forget_parent(self) -> None:
        # After a fork, the sockets and the lock belong to the parent. Using its sockets would mix up answers.
        if self._owner_pid != os.getpid():
            self._lock = threading.Lock()
            self._idle = []
            self._owner_pid = os.getpid()


@contextmanager
def _translated() -> Iterator[None]:
    """Translates clickhouse-driver's errors to MetricsErrors."""
    try:
        yield
    except errors.ServerException as error:
        raise refusal(error.code, error.message) from error
    except (errors.Error, OSError, EOFError) as error:
        raise MetricsUnavailable(f"ClickHouse does not answer: {error}") from error
