"""Retention of receipts and dispatches. A whole month of receipts is dropped once its last day is old enough.

What gateways said is kept as long as the items of earnings. A finding of fraud judges old requests again, and they
must not lose what confirmed them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from jatevo.audit.record import SYSTEM
from jatevo.metrics.retention_policy import Drop, Dropped, RetentionRule, old_rows, register
from receipts.models import Dispatch, DispatchConflict, DispatchWinner, UnjudgedReceipt
from receipts.partitions import count_rows, drop_month, months


def old_months(before: datetime, dry_run: bool) -> Iterator[Dropped]:
    """Drops the months that ended before that moment. Rows in the default partition are never dropped.

    A month in which receipts still wait for earnings is kept, because what they earned would be lost.
    """
    for month in months():
        waiting = UnjudgedReceipt.objects.filter(
            accepted_at__gte=month.starts_at, accepted_at__lt=month.ends_at
        )
        if month.ends_at <= before and not waiting.exists():
            rows = count_rows(month) if dry_run else drop_month(month, by=SYSTEM)
            yield Dropped(month.name, rows)


def older_than_items(model: type[Dispatch | DispatchWinner]) -> Drop:
    """Deletes rows of which every item is gone. Items go by whole months, and may be younger than the dispatch."""
    drop = old_rows(model, "received_at")
    return lambda before, dry_run: drop(before - timedelta(days=40), dry_run)


register(
    RetentionRule("receipts_receipt", "receipts", old_months),
    RetentionRule("receipts_dispatch", "earnings", older_than_items(Dispatch)),
    RetentionRule("receipts_dispatchwinner", "earnings", older_than_items(DispatchWinner)),
    RetentionRule("receipts_dispatchconflict", "receipts", old_rows(DispatchConflict, "received_at")),
)
