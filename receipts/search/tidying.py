"""Merging the parts of the search's tables that ClickHouse leaves apart.

It merges parts of like size on its own. What was filled in late, or judged anew, stays a part beside a much larger one of
the same time. Each sum then compares the receipts of both, and takes more than twice as long.
"""

from datetime import datetime, timedelta
from typing import Final

from jatevo.metrics.partitions import Partition, merge, unmerged
from jatevo.metrics.search_rows import SEARCH_TABLES
from jatevo.metrics.transport import Transport

QUIET_FOR: Final = timedelta(hours=1)


def tidy(*, store: Transport, at: datetime) -> Partition | None:
    """Merges the smallest month that has several parts and into which nothing was written for a while.

    Returns it, or None if there is none. So a month is left alone as long as its receipts come in.
    """
    found = [
        partition
        for table in SEARCH_TABLES
        for partition in unmerged(store, table, quiet_since=at - QUIET_FOR)
    ]
    if not found:
        return None
    smallest = min(found, key=lambda partition: partition.rows)
    merge(store, smallest)
    return smallest
