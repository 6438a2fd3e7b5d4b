"""Rows into PostgreSQL by COPY, which is ten times as fast as INSERT."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import ProgrammingError, connection, transaction
from psycopg import sql


def copy_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Appends the rows; lists become arrays. Returns how many there were."""
    count = 0
    with connection.cursor() as cursor, cursor.copy(_statement(table, columns)) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def copy_lines(table: str, columns: Sequence[str], blocks: Iterable[str]) -> None:
    """The same for text that is in COPY's format already: cells between tabs, each line with its end."""
    with connection.cursor() as cursor, cursor.copy(_statement(table, columns)) as copy:
        for block in blocks:
            copy.write(block)


@contextmanager
def unchecked_references() -> Iterator[None]:
    """Within a transaction: foreign keys are taken on trust, which halves the time.

    Only a superuser may say so, as everybody is of a private PostgreSQL; for others they are checked.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
    except ProgrammingError:
        yield
        return
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _statement(table: str, columns: Sequence[str]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
