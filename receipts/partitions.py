"""The monthly partitions of receipts: made ahead of time, with a default one that loses nothing."""

from datetime import UTC, datetime

from django.db import connection, transaction

MONTHS_AHEAD = 3


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
            bounds = [_month(at, ahead), _month(at, ahead + 1)]
            cursor.execute(f"CREATE TABLE {name} (LIKE receipts_receipt INCLUDING ALL)")
            cursor.execute(
                f"WITH early AS (DELETE FROM receipts_receipt_default"  # noqa: S608 - the name is ours
                f" WHERE accepted_at >= %s AND accepted_at < %s RETURNING *) INSERT INTO {name} SELECT * FROM early",
                bounds,
            )
            cursor.execute(
                f"ALTER TABLE receipts_receipt ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)",
                bounds,
            )
            made.append(name)
    return made


def _month(at: datetime, ahead: int) -> datetime:
    months = at.year * 12 + at.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
