"""Parses values in ClickHouse's JSON by the declared types of their columns.

JSON has only one type of number: ClickHouse writes the Float64 310.0 as 310. So a cell is read by its
column's type, which JSONCompactEachRowWithNamesAndTypes includes.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from jatevo.metrics.transport import TYPE_MISMATCH, QueryRefused

Reader = Callable[[Any], Any]

# Settings of the session, so that its values can be read here.
JSON_SETTINGS = (
    "SET date_time_output_format = 'unix_timestamp'",
    "SET output_format_json_quote_denormals = 0",  # NaN and infinities are null
    "SET output_format_json_quote_64bit_integers = 0",
    "SET output_format_json_quote_decimals = 1",
    "SET output_format_json_validate_utf8 = 1",
    "SET output_format_json_named_tuples_as_objects = 0",
)


def reader_of(column: str, type_name: str) -> Reader | None:
    """A function that converts a cell of this type. None for types whose cells need no conversion.

    Raises QueryRefused for a DateTime that is not in UTC, and for types that this console does not use.
    """
    name, arguments = _parsed(type_name)
    match name:
        case "Nullable" | "LowCardinality":
            return reader_of(column, arguments[0])
        case "String" | "UUID" | "Bool" | "Nothing" | "Enum8" | "Enum16":
            return None
        case "UInt8" | "UInt16" | "UInt32" | "UInt64" | "Int8" | "Int16" | "Int32" | "Int64":
            return None
        case "Float32" | "Float64":
            return _unless_null(float)
        case "Decimal" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256":
            return _unless_null(Decimal)
        case "Date" | "Date32":
            return _unless_null(date.fromisoformat)
        case "DateTime" if arguments == ["'UTC'"]:
            return _unless_null(lambda cell: datetime.fromtimestamp(int(cell), UTC))
        case "DateTime":
            raise QueryRefused(f"column {column} is a {type_name}; say DateTime('UTC')", TYPE_MISMATCH)
        case "Array":
            return _array(reader_of(column, arguments[0]))
        case "Tuple":
            return _tuple([reader_of(column, _of_element(argument)) for argument in arguments])
    raise QueryRefused(f"column {column} is a {type_name}, which is not read here", TYPE_MISMATCH)


def _unless_null(read: Reader) -> Reader:
    return lambda cell: None if cell is None else read(cell)


def _array(read: Reader | None) -> Reader | None:
    return None if read is None else lambda cells: [read(cell) for cell in cells]


def _tuple(readers: list[Reader | None]) -> Reader:
    return lambda cells: tuple(
        cell if read is None else read(cell) for read, cell in zip(readers, cells, strict=True)
    )


def _parsed(type_name: str) -> tuple[str, list[str]]:
    """A type's name and arguments, for example of `Tuple(a String, Array(Float64))`."""
    name, bracket, inner = type_name.partition("(")
    if not bracket:
        return name, []
    arguments, depth, quoted, start = [], 0, False, 0
    inner = inner[:-1]
    for place, letter in enumerate(inner):
        if letter == "'" and (place == 0 or inner[place - 1] != "\\"):
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if letter == "," and depth == 0:
                arguments.append(inner[start:place].strip())
                start = place + 1
    return name, [*arguments, inner[start:].strip()]


def _of_element(argument: str) -> str:
    """The type of a tuple's element, without the name that may precede it."""
    before, space, after = argument.partition(" ")
    return after if space and "(" not in before else argument
