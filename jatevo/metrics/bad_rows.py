"""Writing many rows of which some may be invalid, so that one bad row does not block the others."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import DataError, IntegrityError, transaction

T = TypeVar("T")
Refused = list[tuple[T, Exception]]

# Errors of PostgreSQL or psycopg for values that cannot be stored. An outage never raises these.
_DATA_ERRORS = (DataError, IntegrityError, TypeError, ValueError, OverflowError)


def write_around(
    rows: Sequence[T], write: Callable[[Sequence[T]], None], is_rows_fault: Callable[[Exception], bool]
) -> Refused[T]:
    """Writes the rows. Returns those that cannot be written, each with its error.

    It finds them by splitting the rows in half, so `write` may get good rows more than once and must tolerate
    that. Errors that are not caused by rows are raised.
    """
    if not rows:
        return []
    try:
        write(rows)
    except Exception as error:
        if not is_rows_fault(error):
            raise
        if len(rows) == 1:
            return [(rows[0], error)]
        middle = len(rows) // 2
        first = write_around(rows[:middle], write, is_rows_fault)
        return first + write_around(rows[middle:], write, is_rows_fault)
    return []


def store_around(rows: Sequence[T], write: Callable[[Sequence[T]], None]) -> Refused[T]:
    """The same for PostgreSQL, with a savepoint for each write."""

    def in_savepoint(some: Sequence[T]) -> None:
        with transaction.atomic():
            write(some)

    return write_around(rows, in_savepoint, lambda error: isinstance(error, _DATA_ERRORS))
