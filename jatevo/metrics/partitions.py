"""The partitions of ClickHouse's tables, which backfills process one by one and retention drops."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jatevo.metrics.cluster import stored, system_rows, target
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.quoting import identifier
from jatevo.metrics.transport import Param, Transport


@dataclass(frozen=True, order=True)
class Partition:
    """A day (`number` is 20260304) or a month (202603) of a table."""

    table: str
    number: int
    rows: int

    @property
    def ends_at(self) -> datetime:
        """The first moment after it (UTC)."""
        if self.number < 10**6:
            year, month = divmod(self.number, 100)
            return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        return datetime.strptime(str(self.number), "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)


def partitions_of(store: Transport, table: str) -> list[Partition]:
    """A table's partitions, oldest first. `rows` includes repeats that have not been merged yet."""
    return _partitions(store, table)


def unmerged(store: Transport, table: str, *, quiet_since: datetime) -> list[Partition]:
    """The partitions that have several parts on a server, and whose newest there was written before `quiet_since`.

    On a cluster, `rows` are those of the shards where it is so.
    """
    return _partitions(
        store,
        table,
        "HAVING count() > 1 AND toUInt32(max(modification_time)) < {quiet_since}",
        {"quiet_since": int(quiet_since.timestamp())},
    )


def merge(store: Transport, partition: Partition) -> None:
    """Makes one part of a partition, without repeats. It reads and writes all of it."""
    table = target(store, identifier(partition.table))
    store.execute_on_each(f"OPTIMIZE TABLE {table} PARTITION {partition.number} FINAL")


def drop(store: Transport, partition: Partition) -> None:
    """Drops a partition for good. A partition that no longer exists is not an error."""
    table = target(store, identifier(partition.table))
    store.execute_on_each(f"ALTER TABLE {table} DROP PARTITION {partition.number}")


def empty(store: Transport, table: str) -> None:
    """Deletes all rows of a table."""
    store.execute_on_each(f"TRUNCATE TABLE {target(store, identifier(table))}")


def _partitions(
    store: Transport, table: str, having: str = "", params: Mapping[str, Param] | None = None
) -> list[Partition]:
    """The partitions of each server, as far as they meet the condition there, with the rows of all together."""
    rows = store.execute(
        joined(
            *("SELECT partition, sum(rows) FROM", system_rows(store, "parts")),
            *("AND active AND table = {table} GROUP BY partition", having),
            "SETTINGS distributed_group_by_no_merge = 1",
        ),
        {"table": stored(store, table), **(params or {})},
    )
    counts: dict[int, int] = {}
    for number, count in rows:
        counts[int(number)] = counts.get(int(number), 0) + int(count)
    return sorted(Partition(table, number, count) for number, count in counts.items())
