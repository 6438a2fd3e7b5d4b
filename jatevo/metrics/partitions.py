"""The partitions of ClickHouse's tables, which backfills process one by one and retention drops."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jatevo.metrics.quoting import identifier
from jatevo.metrics.transport import Transport


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
    rows = store.execute(
        "SELECT partition, sum(rows) FROM system.parts"
        " WHERE active AND database = currentDatabase() AND table = {table} GROUP BY partition",
        {"table": table},
    )
    return sorted(Partition(table, int(number), int(count)) for number, count in rows)


def unmerged(store: Transport, table: str, *, quiet_since: datetime) -> list[Partition]:
    """The partitions that have several parts, and whose newest was written before `quiet_since`."""
    rows = store.execute(
        "SELECT partition, sum(rows) FROM system.parts"
        " WHERE active AND database = currentDatabase() AND table = {table} GROUP BY partition"
        " HAVING count() > 1 AND toUInt32(max(modification_time)) < {quiet_since}",
        {"table": table, "quiet_since": int(quiet_since.timestamp())},
    )
    return sorted(Partition(table, int(number), int(count)) for number, count in rows)


def merge(store: Transport, partition: Partition) -> None:
    """Makes one part of a partition, without repeats. It reads and writes all of it."""
    store.execute(f"OPTIMIZE TABLE {identifier(partition.table)} PARTITION {partition.number} FINAL")


def drop(store: Transport, partition: Partition) -> None:
    """Drops a partition for good. A partition that no longer exists is not an error."""
    store.execute(f"ALTER TABLE {identifier(partition.table)} DROP PARTITION {partition.number}")
