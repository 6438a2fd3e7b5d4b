"""The monthly partitions of receipts.

They are created ahead of time; a default partition takes other rows.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

from django.db import connection, transaction
from psycopg import sql

from jatevo.audit.record import Actor, record

MONTHS_AHEAD = 3
LOCK_TIMEOUT = "3s"
_STATEMENTS: tuple[LiteralString, ...] = (
    "CREATE TABLE {} (LIKE receipts_receipt INCLUDING ALL)",
    "WITH early AS (DELETE FROM receipts_receipt_default"
    " WHERE accepted_at >= %(start)s AND accepted_at < %(end)s RETURNING *)"
    " INSERT INTO {} SELECT * FROM early",
    "ALTER TABLE receipts_receipt ATTACH PARTITION {} FOR VALUES FROM (%(start)s) TO (%(end)s)",
)
_NAME = re.compile(r"receipts_receipt_(\d{4})_(\d{2})")


@dataclass(frozen=True, order=True)
class Month:
    """The partition of a month, identified by its first moment (UTC)."""

    starts_at: datetime

    @property
    def name(self) -> str:
        return f"receipts_receipt_{self.starts_at:%Y_%m}"

    @property
    def ends_at(self) -> datetime:
        """The first moment after the month."""
        return _month(self.starts_at, 1)


def ensure_partitions(*, at: datetime) -> list[str]:
    """Creates the partitions of this month and the next three. Returns the names of new ones.

    Rows that came before their partition existed are moved from the default partition in the same
    transaction.
    """
    made = []
    for ahead in range(MONTHS_AHEAD + 1):
        name = f"receipts_receipt_{_month(at, ahead):%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            # a second worker waits here, and then finds the partitions in place
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


def months() -> list[Month]:
    """The months that have a partition, oldest first. The default partition is not included."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'receipts_receipt'::regclass"
        )
        names = [_NAME.fullmatch(name) for (name,) in cursor]
    return sorted(Month(datetime(int(name[1]), int(name[2]), 1, tzinfo=UTC)) for name in names if name)


def count_rows(month: Month) -> int:
    """How many receipts are in a month's partition."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(month.name)))
        ((count,),) = cursor.fetchall()
    return int(count)


def drop_month(month: Month, *, by: Actor) -> int:
    """Drops a month's receipts for good, with an audit row. Returns how many there were.

    Receipts can be neither read nor written for a moment. If the lock is not free within LOCK_TIMEOUT, the
    database's error is raised. Identities are kept, so that the same receipts are refused if posted again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
        rows = count_rows(month)
        cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(month.name)))
        record("receipts.month_dropped", by=by, subject_kind="receipts", subject_id=month.name, rows=rows)
    return rows


def _month(at: datetime, ahead: int) -> datetime:
    months = at.year * 12 + at.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
