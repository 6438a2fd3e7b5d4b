"""The first item of a month makes its partitions while others read and write."""

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from earnings.accrual.months import ensure_months

pytestmark = pytest.mark.django_db

FAR = date(2041, 3, 5)


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    """Another session, which waits 0.2 s for a lock."""
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as session:
        session.execute("SET lock_timeout = '200ms'")
        yield session
        session.rollback()


def test_nobody_waits_for_the_transaction_that_makes_them(other: psycopg.Connection) -> None:
    ensure_months([FAR])
    other.execute("SELECT count(*) FROM earnings_item")
    other.execute("SELECT count(*) FROM earnings_verdict")


def test_they_are_made_while_another_transaction_has_read_the_tables(other: psycopg.Connection) -> None:
    other.execute("SELECT count(*) FROM earnings_item")
    other.execute("SELECT count(*) FROM earnings_verdict")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '200ms'")
        ensure_months([FAR])
        cursor.execute("SELECT to_regclass('earnings_item_2041_03') IS NOT NULL")
        assert cursor.fetchall() == [(True,)]


@pytest.mark.parametrize("table", ["earnings_item", "earnings_verdict"])
def test_a_partition_has_all_that_its_table_has(table: str) -> None:
    ensure_months([FAR])
    with connection.cursor() as cursor:
        cursor.execute(_PARTS, {"table": table})
        of_the_table = cursor.fetchall()
        cursor.execute(_PARTS, {"table": f"{table}_2041_03"})
        assert cursor.fetchall() == of_the_table
        cursor.execute(_TRIGGERS, [f"{table}_2041_03"])
        assert ("earnings_refuse_change",) in cursor.fetchall()


def test_rows_of_other_months_are_refused() -> None:
    ensure_months([FAR])
    refused = pytest.raises(DatabaseError, match="partition constraint")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO earnings_verdict_2041_03 (day, receipt_id, at, state, rule, cause, confirmed, actor, reason)"
            " VALUES ('2041-04-01', 1, now(), 'payable', '', '', true, '', '')"
        )


_PARTS = """
SELECT 'column', attname, format_type(atttypid, atttypmod) || attnotnull || coalesce(pg_get_expr(adbin, adrelid), '')
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = %(table)s::regclass AND attnum > 0
UNION ALL SELECT 'check', conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid = %(table)s::regclass AND contype = 'c'
UNION ALL SELECT 'index', '', regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') || indisunique || indisprimary
FROM pg_index WHERE indrelid = %(table)s::regclass
ORDER BY 1, 2, 3
"""
_TRIGGERS = """
SELECT proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE tgrelid = %s::regclass AND NOT tgisinternal
"""
