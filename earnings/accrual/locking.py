"""One accrual, or one person's decision, at a time: an advisory lock that ends with the transaction."""

from django.db import connection

_LOCK_ID = 0x6A61_7465


def try_lock() -> bool:
    """Whether this transaction has the lock now. Does not wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK_ID])
        ((locked,),) = cursor.fetchall()
    return bool(locked)


def wait_for_lock() -> None:
    """Waits until this transaction has the lock, for at most the connection's lock_timeout."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_ID])
