"""The monthly partitions of receipts: made ahead of time, with a default one that loses nothing."""

from datetime import UTC, datetime
from typing import LiteralString

from django.db import connection, transaction
from psycopg import sql

MONTHS_AHEAD = 3
_STATEMENTS: tuple[LiteralString, ...] = (
    "CREATE TABLE {} (LIKE receipts_receipt INCLUDING ALL)",
    "WITH early AS (DELETE FROM receipts_receipt_default"
    " WHERE accepted_at >= %(start)s AND accepted_at < %(end)s RETURNING *)"
    " INSERT INTO {} SELECT * FROM early",
    "ALTER TABLE receipts_receipt ATTACH PARTITION {} FOR VALUES FROM (%(start)s) TO (%(end)s)",
)


def ensure_partitions(*, at: datetime) -> list[str]:
    """Makes the partitions of this month and the next three; returns the names of new ones.

    Rows that came before their partition did wait in the default partition and move in the same transaction.
    """
    made = []
    for ahead in range(MONTHS_AHEAD + 1):
        name = f"receipts_receipt_{_month(at, ahead):%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            # two workers at once: the second waits here and finds it done
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('receipts partitions'))")
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
            row = cursor.fetchone()
            if row is not None and row[0]:
                continue
            bounds = {"start": _month(at, ahead), "end": _month(at, ahead + 1)}
            for statement in _STATEMENTS:
                cursor.execute(sql.SQL(statement).format(sql.Identifier(name)), bounds)
            made.append(name)
    return made


def _month(at: datetime, ahead: int) -> datetime:
    months = at.year * 12 + at.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
