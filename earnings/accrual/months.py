"""The monthly partitions of items and verdicts, made when the first item of a month is written, and read by name."""

from collections.abc import Iterable
from datetime import date
from typing import LiteralString

from django.db import connection
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from earnings.rules.periods import Month

_TABLES: tuple[LiteralString, ...] = ("earnings_item", "earnings_verdict")


# Attached, because PARTITION OF would keep everybody else from the parent until the transaction ends.
_STATEMENTS: tuple[LiteralString, ...] = (
    "CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
    "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM (%(first)s) TO (%(after)s)",
)


def ensure_months(days: Iterable[date]) -> None:
    """Makes the partitions for those days. Must run in the transaction that uses them.

    Until it ends, others read and write the other months, but cannot make or drop a partition.
    """
    wanted = {Month.of(day) for day in days}
    with connection.cursor() as cursor:
        for month in sorted(wanted):
            for table in _TABLES:
                name = _partition(table, month)
                if _exists(cursor, name):
                    continue
                bounds = {"first": month.first_day, "after": month.next.first_day}
                for statement in _STATEMENTS:
                    asked = sql.SQL(statement).format(name=sql.Identifier(name), table=sql.Identifier(table))
                    cursor.execute(asked, bounds)


def items_of_months(cursor: CursorWrapper, first: date, last: date) -> sql.Composed:
    """The items of the months from `first` to `last`, as a table for FROM that names the partitions.

    A condition on `day` leaves out the same partitions, but lets PostgreSQL look items up by day instead of by node.
    It does so as long as its statistics are older than the day, and then it reads the whole day for each node.
    """
    month, months = Month.of(first), list[Month]()
    while month.first_day <= last:
        months.append(month)
        month = month.next
    names = [name for each in months if _exists(cursor, name := _partition("earnings_item", each))]
    if not names:
        return sql.SQL("({})").format(sql.SQL("SELECT * FROM earnings_item WHERE false"))
    parts = [sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)) for name in names]
    return sql.SQL("({})").format(sql.SQL(" UNION ALL ").join(parts))


def _partition(table: str, month: Month) -> str:
    return f"{table}_{month.year:04}_{month.month:02}"


def _exists(cursor: CursorWrapper, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
    ((exists,),) = cursor.fetchall()
    return bool(exists)
