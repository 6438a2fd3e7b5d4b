"""Statements of the busiest requests, bound and prepared by the server.

Django's cursors write the values into the text of a statement, so PostgreSQL parses and plans it each time. For the
long statements of ingest that takes about as long as executing them. What is read comes in binary format, because Django's
loader of times is slow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


class _PreparingCursor(psycopg.Cursor[tuple[Any, ...]]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> "_PreparingCursor":
        prepares: bool = settings.DATABASE_PREPARES_STATEMENTS
        return super().execute(query, params, prepare=prepares, binary=True)

    def _convert_query(self, query: Any, params: Any = None) -> Any:
        converted = super()._convert_query(query, params)
        self._query = converted  # for Django's list of queries; psycopg forgets what is prepared
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
    server.ensure_connection()
    prepared = _PreparingCursor(server.connection)
    with server._prepare_cursor(prepared) as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
