"""Filling the search from PostgreSQL: an existing installation, an emptied ClickHouse, what a fact did not say.

What may be missing is noted as gaps (`ReceiptGap`). Each step fills the newest part of the newest gap and shrinks it in
the transaction that read, so it can be killed at any point. A reader whose range touches a gap is told that, in place
of figures. Verdicts that come meanwhile are delivered by the payment feed, with higher versions.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from django.db import connection, transaction
from django.db.models import F

from jatevo.metrics.models import ReceiptGap, SearchOrigin
from jatevo.metrics.partitions import empty
from jatevo.metrics.queries import note_search_origin, search_origin
from jatevo.metrics.search_rows import SEARCH_TABLES, write_search_rows
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import Transport
from receipts.search.rows import judged_rows, of_gap
from receipts.slots import payment_feed

log = structlog.get_logger(__name__)

AT_ONCE: Final = 10_000
_LOCK_ID: Final = 0x7365_6172
# Receipts that came after the job began may have been shipped before it emptied the table.
_JUST_NOW: Final = timedelta(minutes=1)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filled:
    """What a run did. `left`: there is more to fill."""

    receipts: int = 0
    left: bool = False


def fill(
    *, at: datetime, seconds: float = 5.0, at_once: int = AT_ONCE, store: Transport | None = None
) -> Filled:
    """Fills gaps for about so many seconds. Runs in any number of processes, one of which works.

    Raises MetricsUnavailable if ClickHouse does not answer.
    """
    store = store or get_store()
    if not _same_origin(store, at=at):
        return Filled(left=True)
    stop_at = time.monotonic() + seconds
    filled = 0
    while True:
        step = _step(store, at_once)
        if step is None:
            return Filled(filled)
        filled += step
        if time.monotonic() >= stop_at:
            return Filled(filled, ReceiptGap.objects.exists())


def rebuild(*, at: datetime) -> None:
    """Forgets what the search holds. The worker fills it anew."""
    with transaction.atomic():
        _note_everything(at=at)


def _same_origin(store: Transport, *, at: datetime) -> bool:
    """Whether ClickHouse holds the filling that PostgreSQL knows. If not, a new one begins here.

    False if another process is at it.
    """
    known = SearchOrigin.objects.first()
    if known is not None and search_origin(store) == str(known.origin):
        return True
    with transaction.atomic(durable=True):
        if not _try_lock():
            return False
        # what was there could be another installation's, or newer than a database that was restored
        for table in SEARCH_TABLES:
            empty(store, table)
        origin = _note_everything(at=at)
    note_search_origin(store, str(origin), at=at)
    log.info("the search of receipts is filled from PostgreSQL", origin=str(origin))
    return True


def _note_everything(*, at: datetime) -> uuid.UUID:
    """All receipts until a moment from now as one gap, under a new origin. Later ones come by their facts."""
    origin = uuid.uuid4()
    if (feed := payment_feed()) is not None:
        feed.forget()
    ReceiptGap.objects.all().delete()
    ReceiptGap.objects.create(first_at=_BEGINNING, until_at=at + _JUST_NOW)
    SearchOrigin.objects.update_or_create(pk=1, defaults={"origin": origin, "noted_at": at})
    return origin


def _step(store: Transport, at_once: int) -> int | None:
    """Fills one part of the newest gap. Returns how many receipts. None if there is no gap, or another is at it."""
    with transaction.atomic(durable=True):
        if not _try_lock():
            return None
        gap = ReceiptGap.objects.first()
        if gap is None:
            return None
        found = of_gap(gap, limit=at_once)
        write_search_rows(store, judged_rows(found))
        if len(found) < at_once:
            gap.delete()
        else:
            last = found[-1]
            ReceiptGap.objects.filter(pk=gap.pk).update(
                until_at=last.accepted_at, until_id=last.row.id, filled=F("filled") + len(found)
            )
    return len(found)


def _try_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK_ID])
        ((locked,),) = cursor.fetchall()
    return bool(locked)
