"""Statements of the busiest requests, bound and prepared by the server.

Django's cursors write the values into the text of a statement, so PostgreSQL parses and plans it each time. For the
long statements of ingest that takes about as long as executing them. What is read comes in binary format, because Django's
loader of times is slow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error, connection
from django.db.backends.base.base import BaseDatabaseWrapper

# A migration has changed the type of a column since the statement was prepared, or a pooler has lost the statement.
_OUTDATED = (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidSqlStatementName)


class _PreparingCursor(psycopg.Cursor[tuple[Any, ...]]):
    """Prepares what it executes. Django's threshold is None, with which psycopg prepares nothing, even if it is asked to.

    Any other would have psycopg keep the last hundred texts of Django's own cursors, values included.
    """

    prepares = True

    def execute(self, query: Any, params: Any = None, **options: Any) -> "_PreparingCursor":
        if not self.prepares:
            return super().execute(query, params, binary=True)
        self.connection.prepare_threshold = 1
        try:
            return super().execute(query, params, prepare=True, binary=True)
        finally:
            self.connection.prepare_threshold = None

    def _convert_query(self, query: Any, params: Any = None) -> Any:
        converted = super()._convert_query(query, params)
        self._query = (
            converted  # for Django's list of queries; psycopg does not set it for prepared statements
        )
        return converted


def fetch(
    sql: str, params: Sequence[Any] | Mapping[str, Any], *, on: BaseDatabaseWrapper | None = None
) -> list[tuple[Any, ...]]:
    """The rows of a statement that is constant text, from the primary or `on` another connection.

    Part of the transaction, if there is one.

    A parameter has one type wherever it occurs, so texts and what may be null are cast, the same way each time.
    Raises Django's database errors.
    """
    server: Any = on or connection
    prepares: bool = settings.DATABASE_PREPARES_STATEMENTS
    try:
        return _fetched(server, sql, params, prepares=prepares)
    except Error as error:
        # After the rollback of a transaction, psycopg prepares everything anew. Outside of one, it never would.
        if not prepares or server.in_atomic_block or not isinstance(error.__cause__, _OUTDATED):
            raise
    server.connection.close()
    return _fetched(server, sql, params, prepares=False)


def _fetched(server: Any, sql: str, params: Any, *, prepares: bool) -> list[tuple[Any, ...]]:
    server.ensure_connection()
    bound = _PreparingCursor(server.connection)
    bound.prepares = prepares
    with server._prepare_cursor(bound) as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
