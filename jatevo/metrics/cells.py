"""Conversion of Python values to and from ClickHouse, the same for both transports."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from jatevo.metrics.transport import TYPE_MISMATCH, Cell, QueryRefused, Row

Columns = Sequence[tuple[str, str]]  # name and declared type

# Types whose values clickhouse-driver returns in the form that a Row has.
_AS_READ = ("UInt", "Int", "Enum")


def plain_rows(columns: Columns, rows: Sequence[Sequence[Any]]) -> list[Row]:
    """Converts rows that clickhouse-driver decoded to the values that `Transport` promises.

    A value has the Python type of its column's declared type, also inside a tuple or an array. Raises
    QueryRefused for a DateTime column without a time zone.
    """
    for name, type_name in columns:
        if "DateTime" in type_name and "DateTime('UTC')" not in type_name:
            raise QueryRefused(f"column {name} is a {type_name}; say DateTime('UTC')", TYPE_MISMATCH)
    if all(type_name.startswith(_AS_READ) for _, type_name in columns):
        return [tuple(row) for row in rows]
    return [tuple(map(_plain, row)) for row in rows]


def cells_to_insert(row: Sequence[Cell]) -> list[Cell]:
    """A row to insert. NaN and infinite floats become NULL, as they do in reads."""
    return [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in row]


def _of_float(cell: float) -> float | None:
    return cell if math.isfinite(cell) else None


def _of_bytes(cell: bytes) -> str:
    # clickhouse-driver returns bytes for a String that is not UTF-8
    return cell.decode(errors="replace")


def _of_datetime(cell: datetime) -> datetime:
    return cell.astimezone(UTC)


def _of_array(cell: list[Any]) -> list[Any]:
    return [_plain(each) for each in cell]


def _of_tuple(cell: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_plain(each) for each in cell)


_PLAIN: dict[type, Callable[[Any], Any]] = {
    float: _of_float,
    bytes: _of_bytes,
    datetime: _of_datetime,
    UUID: str,
    list: _of_array,
    tuple: _of_tuple,
}


def _plain(cell: Any) -> Any:
    convert = _PLAIN.get(type(cell))
    return cell if convert is None else convert(cell)
