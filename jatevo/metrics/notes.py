"""Notes that every shard of a cluster has, such as which files of the schema were applied.

On a cluster, a note is a row on each shard. Its second decides to which one a Distributed table sends it, and its text says
how many there are. So a shard that was emptied, replaced, added or removed shows: a note is not everywhere any more.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from jatevo.metrics.cluster import shard_weights
from jatevo.metrics.transport import Cell, Transport

_OF: Final = " of "  # between a text and the number of shards


@dataclass(frozen=True)
class NoteTable:
    """A table of notes. The last of the columns is a text, which tells the number of shards on a cluster."""

    name: str
    columns: tuple[str, ...]
    time_column: str


ORIGINS: Final = NoteTable("receipt_search_origin", ("origin",), "noted_at")
MIGRATIONS: Final = NoteTable("schema_migrations", ("version", "sha256", "name"), "applied_at")


@dataclass(frozen=True)
class Note:
    """The values of the columns, and whether each of the present shards has them."""

    values: tuple[Any, ...]
    everywhere: bool


def write_note(store: Transport, table: NoteTable, *values: Cell, at: datetime) -> None:
    """Writes a note, on a cluster to each shard."""
    rows: list[tuple[Cell, ...]] = [(*values, at)]
    if store.cluster is not None:
        weights = shard_weights(store)
        # a shard gets the rows whose second, divided by the sum of weights, has a remainder in its range
        total = sum(weights)
        first = -(-int(at.timestamp()) // total) * total
        seconds = [first + sum(weights[:number]) for number in range(len(weights))]
        marked = (*values[:-1], f"{values[-1]}{_OF}{len(weights)}")
        rows = [(*marked, datetime.fromtimestamp(second, UTC)) for second in seconds]
    store.insert(table.name, [*table.columns, table.time_column], rows)


def read_notes(store: Transport, table: NoteTable) -> list[Note]:
    """The notes on a cluster, from the oldest to the newest."""
    weights = shard_weights(store)
    columns = ", ".join(table.columns)
    rows = store.execute(f"SELECT {columns}, toUInt32({table.time_column}) FROM {table.name}")  # noqa: S608 - constants
    seconds: dict[tuple[Any, ...], set[int]] = {}
    for *values, second in rows:
        seconds.setdefault(tuple(values), set()).add(second)
    notes = []
    for marked, found in sorted(seconds.items(), key=lambda item: max(item[1])):
        text, _, shards = str(marked[-1]).rpartition(_OF)
        places = {second % sum(weights) for second in found}
        everywhere = shards == str(len(weights)) and len(places) == len(weights)
        notes.append(Note((*marked[:-1], text), everywhere))
    return notes
