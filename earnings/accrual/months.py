"""The monthly partitions of items and verdicts. They are made when the first item of a month is written."""

from collections.abc import Iterable
from datetime import date
from typing import LiteralString

from django.db import connection
from psycopg import sql

from earnings.rules.periods import Month

_TABLES: tuple[LiteralString, ...] = ("earnings_item", "earnings_verdict")


def ensure_months(days: Iterable[date]) -> None:
    """Makes the partitions for those days. Must run in the transaction that uses them."""
    wanted = {Month.of(day) for day in days}
    with connection.cursor() as cursor:
        for month in sorted(wanted):
            for table in _TABLES:
                name = f"{table}_{month.year:04}_{month.month:02}"
                cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
                ((exists,),) = cursor.fetchall()
                if not exists:
                    cursor.execute(
                        sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM (%s) TO (%s)").format(
                            sql.Identifier(name), sql.Identifier(table)
                        ),
                        [month.first_day, month.next.first_day],
                    )
