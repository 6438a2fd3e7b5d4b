"""What an exported file consists of: named columns, and rows that are read while the file is sent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from jatevo.web.csv_export import Cell
from jatevo.web.exact import exact

T = TypeVar("T")
Value = str | int | bool | float | Decimal | date | datetime | None  # a Decimal is an amount or a rate


class FileFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"

    @property
    def label(self) -> str:
        return "CSV" if self is FileFormat.CSV else "JSON Lines"


@dataclass(frozen=True)
class FileColumn(Generic[T]):
    """A column of the CSV file, and a member of the JSON objects."""

    name: str
    value: Callable[[T], Value]


@dataclass(frozen=True)
class ExportTable(Generic[T]):
    """A table as a file: the same columns and values in both formats."""

    columns: Sequence[FileColumn[T]]
    rows: Iterator[T]

    @property
    def header(self) -> list[str]:
        return [column.name for column in self.columns]

    def csv_rows(self) -> Iterator[list[Cell]]:
        """The cells. An amount is a number with every digit; yes and no are `true` and `false`."""
        for row in self.rows:
            yield [_cell(column.value(row)) for column in self.columns]

    def objects(self, zone: tzinfo) -> Iterator[dict[str, Any]]:
        """The objects. Amounts are strings with every digit; times have the zone's offset."""
        for row in self.rows:
            yield {column.name: _member(column.value(row), zone) for column in self.columns}


def _cell(value: Value) -> Cell:
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return Decimal(exact(value))
        case datetime():
            return value
        case date():
            return value.isoformat()
    return value


def _member(value: Value, zone: tzinfo) -> Any:
    match value:
        case Decimal():
            return exact(value)
        case datetime():
            return value.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
    return value
