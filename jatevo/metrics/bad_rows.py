"""Writing many rows of which some may be impossible: one bad row must not keep the others out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import DataError, IntegrityError, transaction

T = TypeVar("T")
Refused = list[tuple[T, Exception]]

# What PostgreSQL, or psycopg on its behalf, raises for values that cannot be stored, as a store's outage never is.
_DATA_ERRORS = (DataError, IntegrityError, TypeError, ValueError, OverflowError)


def write_around(
    rows: Sequence[T], write: Callable[[Sequence[T]], None], is_rows_fault: Callable[[Exception], bool]
) -> Refused[T]:
    """Writes the rows; returns those that cannot be written, each with its error.

    Halving finds them in few writes, so that good rows may be written more than once: `write` must absorb that.
    Raises what is not the rows' fault.
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
    """The same for PostgreSQL: each write is a savepoint of its own."""

    def in_savepoint(some: Sequence[T]) -> None:
        with transaction.atomic():
            write(some)

    return write_around(rows, in_savepoint, lambda error: isinstance(error, _DATA_ERRORS))
