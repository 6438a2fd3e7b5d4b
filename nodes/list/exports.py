"""The node list as CSV."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from jatevo.web.csv_export import Cell
from nodes.access.names import NodeNames
from nodes.list.columns import Column, rows_of, with_fields
from nodes.models import NodeQuerySet

_AT_ONCE = 1000


def csv_header(columns: Sequence[Column]) -> list[str]:
    """The headings of the CSV. A column may have several."""
    return [heading for column in columns for heading, _ in column.csv_values]


def csv_rows(
    nodes: NodeQuerySet, columns: Sequence[Column], names: NodeNames, *, reader: object, at: datetime
) -> Iterator[list[Cell]]:
    """The CSV rows of the nodes, in the list's order."""
    values = [value for column in columns for _, value in column.csv_values]
    for row in rows_of(with_fields(nodes, columns, reader).iterator(chunk_size=_AT_ONCE), names, at=at):
        yield [value(row) for value in values]
