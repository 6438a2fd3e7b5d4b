"""Indexes that are built once the tables are full, which takes a fraction of the time of a million single insertions.

They are those whose rows come in no order. Primary keys that count up stay, because adding to them is cheap.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection
from psycopg import sql

RANDOM = (
    "receipts_receipt_node",
    "receipts_receipt_request",
    "receipts_receiptidentity_pkey",
    "receipt_identity_request",
    "receipt_identity_sha256",
    "dispatch_once",
    "dispatch_of_node",
)
# An index of a partitioned table is defined for it ONLY, but its partitions need theirs, too.
_FIND = """
SELECT index.relname, owner.relname, replace(pg_get_indexdef(index.oid), ' ON ONLY ', ' ON '), pg_get_constraintdef(rule.oid)
FROM pg_index JOIN pg_class index ON index.oid = indexrelid JOIN pg_class owner ON owner.oid = indrelid
LEFT JOIN pg_constraint rule ON rule.conindid = index.oid AND rule.contype IN ('p', 'u')
WHERE index.relname = ANY (%s) AND index.relnamespace = 'public'::regnamespace
ORDER BY index.relname
"""


@dataclass(frozen=True)
class _Index:
    """`constraint` is the definition of the constraint that it belongs to, or None."""

    name: str
    table: str
    definition: str
    constraint: str | None


@contextmanager
def built_afterwards(names: tuple[str, ...] = RANDOM) -> Iterator[None]:
    """Drops the indexes and builds them at the end, also after an error. Nothing else may write to their tables."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [list(names)])
        found = [_Index(*row) for row in cursor.fetchall()]
        for index in found:
            cursor.execute(_dropped(index))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET maintenance_work_mem = '512MB'")
            for index in found:
                cursor.execute(_built(index))
            cursor.execute("RESET maintenance_work_mem")


def _dropped(index: _Index) -> sql.Composed:
    if index.constraint is None:
        return sql.SQL("DROP INDEX {}").format(sql.Identifier(index.name))
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
        sql.Identifier(index.table), sql.Identifier(index.name)
    )


def _built(index: _Index) -> sql.Composed:
    if index.constraint is None:
        return sql.Composed([sql.SQL(index.definition)])
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
        sql.Identifier(index.table),
        sql.Identifier(index.name),
        sql.SQL(index.constraint),
    )
