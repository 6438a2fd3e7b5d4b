"""Delivering verdicts to the search: the payment state of a receipt, and its fee."""

import time

import structlog
from django.db import transaction

from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.search_rows import write_search_rows
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import QueryRefused, Transport
from receipts.search.rows import of_judged
from receipts.slots import payment_feed

log = structlog.get_logger(__name__)


def deliver_verdicts(*, seconds: float = 5.0, store: Transport | None = None) -> int:
    """Delivers what waits, for about so many seconds. Returns how many verdicts.

    Runs in any number of processes. Raises MetricsUnavailable if ClickHouse does not answer; the verdicts wait then.
    """
    feed = payment_feed()
    if feed is None:
        return 0
    store = store or get_store()
    stop_at = time.monotonic() + seconds
    delivered = 0
    while time.monotonic() < stop_at:
        with transaction.atomic(durable=True):
            judged = feed.take()
            if judged is None:
                break
            try:
                write_search_rows(store, of_judged(judged))
            except QueryRefused as error:
                if not error.about_rows:
                    raise
                # no reader may get figures without these
                log.error("ClickHouse refuses verdicts", error=str(error), verdicts=len(judged))
                times = [each.accepted_at for each in judged]
                ReceiptGap.objects.create(first_at=min(times), until_at=max(times), until_id=2**63 - 1)
            delivered += len(judged)
    return delivered
