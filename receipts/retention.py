"""Retention of receipts and dispatches. A whole month of receipts is dropped once its last day is old enough."""

from collections.abc import Iterator
from datetime import datetime

from jatevo.audit.record import SYSTEM
from jatevo.metrics.retention_policy import Dropped, RetentionRule, old_rows, register
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


register(
    RetentionRule("receipts_receipt", "receipts", old_months),
    RetentionRule("receipts_dispatch", "receipts", old_rows(Dispatch, "received_at")),
    RetentionRule("receipts_dispatchwinner", "receipts", old_rows(DispatchWinner, "received_at")),
    RetentionRule("receipts_dispatchconflict", "receipts", old_rows(DispatchConflict, "received_at")),
)
