"""Retention of receipts and dispatches.

A month of receipts is dropped whole, once its last day is old enough, all of them are itemised and their periods
are final. Forged receipts are evidence of fraud and are never deleted; other refused receipts are.
What gateways said is kept as long as the items of earnings. A finding of fraud judges old requests again, and they
must not lose what confirmed them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q

from jatevo.audit.record import SYSTEM
from jatevo.metrics.models import Outbox
from jatevo.metrics.partitions import drop, partitions_of
from jatevo.metrics.retention_policy import Drop, Dropped, Kept, RetentionRule, old_rows, register
from jatevo.metrics.search_rows import SEARCH_TABLE, SEARCH_TABLES
from jatevo.metrics.store import get_store
from receipts.models import (
    Dispatch,
    DispatchConflict,
    DispatchWinner,
    ReceiptExport,
    RefusalReason,
    RefusedReceipt,
    UnjudgedReceipt,
    UnkeptRefusals,
)
from receipts.partitions import Month, count_rows, drop_month, months
from receipts.slots import why_needed


def old_months(before: datetime, dry_run: bool) -> Iterator[Dropped | Kept]:
    """Drops the months that ended before that moment. Rows in the default partition are never dropped.

    A month that earnings still need is kept, because what it earned would be lost.
    """
    for month in months():
        if month.ends_at > before:
            continue
        if reasons := list(_reasons_to_keep(month)):
            yield Kept(month.name, "; ".join(reasons))
        else:
            rows = count_rows(month) if dry_run else drop_month(month, by=SYSTEM)
            yield Dropped(month.name, rows)


def old_search_months(before: datetime, dry_run: bool) -> Iterator[Dropped]:
    """Drops the same months from ClickHouse's copy for the search, once PostgreSQL has dropped them."""
    kept = {month.ends_at for month in months()}
    store = get_store()
    for table in SEARCH_TABLES:
        for partition in partitions_of(store, table):
            if partition.ends_at <= before and partition.ends_at not in kept:
                if not dry_run:
                    drop(store, partition)
                if table == SEARCH_TABLE:  # the other has the same receipts
                    yield Dropped(str(partition.number), partition.rows)


def _reasons_to_keep(month: Month) -> Iterator[str]:
    waiting = UnjudgedReceipt.objects.filter(accepted_at__gte=month.starts_at, accepted_at__lt=month.ends_at)
    if count := waiting.count():
        yield f"{count:,} receipt{' waits' if count == 1 else 's wait'} for earnings"
    facts = Outbox.objects.filter(source_at__gte=month.starts_at, source_at__lt=month.ends_at)
    if count := facts.count():  # those that were set aside have nothing but the receipt
        yield f"{count:,} receipt{' waits' if count == 1 else 's wait'} for the metrics store"
    yield from why_needed(month)


def older_than_items(model: type[Dispatch | DispatchWinner]) -> Drop:
    """Deletes rows of which every item is gone. Items go by whole months, and may be younger than the dispatch."""
    drop = old_rows(model, "received_at")
    return lambda before, dry_run: drop(before - timedelta(days=40), dry_run)


def old_refused_receipts(before: datetime, dry_run: bool) -> Iterator[Dropped]:
    """Deletes refused receipts, but for forged ones."""
    old = RefusedReceipt.objects.filter(received_at__lt=before).exclude(reason=RefusalReason.FORGED)
    rows = old.count() if dry_run else old.delete()[0]
    if rows:
        yield Dropped("", rows)


def old_exports(before: datetime, dry_run: bool) -> Iterator[Dropped]:
    """Deletes files that were finished before that moment, one by one, and exports that never were."""
    old = ReceiptExport.objects.filter(Q(ended_at__lt=before) | Q(ended_at=None, created_at__lt=before))
    count = 0
    for export in old.order_by("created_at"):
        count += 1
        if not dry_run:
            export.delete()
    if count:
        yield Dropped("", count)


register(
    RetentionRule("receipts_receipt", "receipts", old_months),
    RetentionRule("receipt_search", "receipts", old_search_months),
    RetentionRule("receipts_receiptexport", "exports", old_exports),
    RetentionRule("receipts_dispatch", "earnings", older_than_items(Dispatch)),
    RetentionRule("receipts_dispatchwinner", "earnings", older_than_items(DispatchWinner)),
    RetentionRule("receipts_dispatchconflict", "receipts", old_rows(DispatchConflict, "received_at")),
    RetentionRule("receipts_refusedreceipt", "refused_receipts", old_refused_receipts),
    RetentionRule("receipts_unkeptrefusals", "refused_receipts", old_rows(UnkeptRefusals, "day")),
)
