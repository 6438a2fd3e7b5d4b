"""Retention of receipts. A whole month is dropped once its last day is old enough."""

from collections.abc import Iterator
from datetime import datetime

from jatevo.audit.record import SYSTEM
from jatevo.metrics.retention_policy import Dropped, RetentionRule, register
from receipts.partitions import count_rows, drop_month, months


def old_months(before: datetime, dry_run: bool) -> Iterator[Dropped]:
    """Drops the months that ended before that moment. Rows in the default partition are never dropped."""
    for month in months():
        if month.ends_at <= before:
            rows = count_rows(month) if dry_run else drop_month(month, by=SYSTEM)
            yield Dropped(month.name, rows)


register(RetentionRule("receipts_receipt", "receipts", old_months))
