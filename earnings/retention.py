"""Retention of items and verdicts: whole months, five years after they ended. Lines, movements and statements stay."""

import re
from collections.abc import Iterator
from datetime import datetime

from django.db import connection, transaction
from psycopg import sql

from earnings.models import Line
from earnings.rules.periods import Month, day_ends_at
from jatevo.audit.record import SYSTEM, record
from jatevo.metrics.retention_policy import Drop, Dropped, RetentionRule, register

LOCK_TIMEOUT = "3s"


def old_months(table: str) -> Drop:
    """Drops the partitions of a table by months that ended before a moment, and whose days are all final."""

    def drop(before: datetime, dry_run: bool) -> Iterator[Dropped]:
        for month in _months(table):
            running = Line.objects.filter(day__lte=month.last_day, final_at=None)
            if day_ends_at(month.last_day) <= before and not running.exists():
                yield _drop(table, month, dry_run=dry_run)

    return drop


def _months(table: str) -> list[Month]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = %s::regclass",
            [table],
        )
        found = [re.fullmatch(rf"{table}_(\d{{4}})_(\d{{2}})", name) for (name,) in cursor.fetchall()]
    return sorted(Month(int(name[1]), int(name[2])) for name in found if name)


def _drop(table: str, month: Month, *, dry_run: bool) -> Dropped:
    name = f"{table}_{month.year:04}_{month.month:02}"
    partition = sql.Identifier(name)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(partition))
        ((rows,),) = cursor.fetchall()
        if not dry_run:
            cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
            cursor.execute(sql.SQL("DROP TABLE {}").format(partition))
            record("earnings.month_dropped", by=SYSTEM, subject_kind="earnings", subject_id=name, rows=rows)
    return Dropped(name, rows)


register(
    RetentionRule("earnings_item", "earnings", old_months("earnings_item")),
    RetentionRule("earnings_verdict", "earnings", old_months("earnings_verdict")),
)
