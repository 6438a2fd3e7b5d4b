"""The retention rules of ClickHouse's tables."""

from collections.abc import Iterator
from datetime import datetime

from jatevo.metrics.partitions import drop, partitions_of
from jatevo.metrics.retention_policy import Drop, Dropped, RetentionRule, register
from jatevo.metrics.store import get_store

RAW_TABLES = ("node_latency_minute", "node_uptime_minute", "requests_minute")
ROLLUP_TABLES = ("node_latency_hour", "node_uptime_hour", "requests_hour")
RECEIPT_TABLES = ("receipt_facts",)


def old_partitions(table: str) -> Drop:
    """Drops a table's partitions that ended before the given moment. Rollups of the table are kept."""

    def drop_all(before: datetime, dry_run: bool) -> Iterator[Dropped]:
        store = get_store()
        for partition in partitions_of(store, table):
            if partition.ends_at <= before:
                if not dry_run:
                    drop(store, partition)
                yield Dropped(str(partition.number), partition.rows)

    return drop_all


for kept, tables in (("raw_minutes", RAW_TABLES), ("rollups", ROLLUP_TABLES), ("receipts", RECEIPT_TABLES)):
    register(*(RetentionRule(table, kept, old_partitions(table)) for table in tables))
