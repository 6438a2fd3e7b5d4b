"""Up to when the search is complete: the one moment at which totals, bars and what is read with them are cut."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from jatevo.metrics.completeness import complete_until
from jatevo.metrics.models import ReceiptGap, SearchOrigin
from jatevo.web.postgresql.replica import from_primary
from receipts.slots import payment_feed

# Accepting takes at most 2.25 s with the database (jatevo/web/postgresql/budgets.py). Older receipts are all
# committed, so their number does not grow afterwards.
SETTLED_AFTER: Final = timedelta(seconds=5)


@dataclass(frozen=True)
class Complete:
    """What ClickHouse has of the receipts.

    Receipts accepted before `as_of` (a whole second) are all there, but for `gap`. Verdicts recorded before
    `judged_as_of` are in. `origin` is the filling that this is about; '' if none was begun.
    """

    as_of: datetime
    judged_as_of: datetime
    origin: str
    gap: ReceiptGap | None


def completeness(
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    of_verdicts: bool = True,
) -> Complete:
    """How complete the search is for receipts accepted in a range. A few queries, before ClickHouse is asked.

    Without `of_verdicts`, nobody asks up to when verdicts are in.
    """
    # Of one server: what has left the outbox may have left a gap behind.
    with from_primary():
        return _completeness(at=at, since=since, until=until, of_verdicts=of_verdicts)


def _completeness(
    *, at: datetime, since: datetime | None, until: datetime | None, of_verdicts: bool
) -> Complete:
    feed = payment_feed() if of_verdicts else None
    waiting = feed.waiting_since() if feed else None
    origin = SearchOrigin.objects.first()
    as_of = (complete_until(at=at) - SETTLED_AFTER).replace(microsecond=0)
    gaps = ReceiptGap.objects.filter(first_at__lt=as_of if until is None else min(until, as_of))
    if since is not None:
        gaps = gaps.filter(until_at__gte=since)
    return Complete(
        as_of=as_of,
        judged_as_of=as_of if waiting is None else min(as_of, waiting),
        origin=str(origin.origin) if origin else "",
        gap=gaps.first(),
    )
