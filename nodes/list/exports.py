"""The node list as CSV."""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from nodes.access.names import NodeNames
from nodes.list.columns import Column, rows_of, with_fields
from nodes.models import NodeQuerySet

_AT_ONCE = 1000
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_lines(
    nodes: NodeQuerySet, columns: Sequence[Column], names: NodeNames, *, at: datetime
) -> Iterator[str]:
    """A header, then a line per node, in the list's order; text that could be a formula gets a leading '."""
    writer = csv.writer(_Echo())
    values = [value for column in columns for value in column.csv_values]
    yield writer.writerow([heading for heading, _ in values])
    for row in rows_of(with_fields(nodes, columns).iterator(chunk_size=_AT_ONCE), names, at=at):
        yield writer.writerow([_cell(value(row)) for _, value in values])


def _cell(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case str():
            return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
        case _:
            return value
