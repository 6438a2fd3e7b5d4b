"""Pages of receipts that PostgreSQL would look for too long: ClickHouse finds them, PostgreSQL reads them.

PostgreSQL walks its indexes newest first until a page is full. That is quickest for whatever there is much of. What is
rare, or not there at all, makes it read millions of rows. So it gets a tenth of a second, and then the ids of the page
come from ClickHouse, for what is settled there, and from PostgreSQL for the last seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from django.db.models import Q

from jatevo.metrics.patience import patiently
from jatevo.metrics.queries import SearchConditions, search_positions
from jatevo.metrics.transport import MetricsError
from jatevo.web.paging import KeysetPage, cursor_keys, keyset_page
from jatevo.web.remembered import Remembered
from receipts.filters import ReceiptFilter
from receipts.models import Receipt, ReceiptQuerySet
from receipts.search.as_of import Complete, completeness
from receipts.search.conditions import MatchesNothing, accepted_before, conditions_of
from receipts.search.in_time import in_time
from receipts.search.totals import digest_of, filled_store

QUICK_SECONDS: Final = 0.1
KEPT_SECONDS: Final = 10  # positions of a first page, which is asked for every second
# PostgreSQL has an index that leads to these at once, or they only cut the range.
_INDEXED: Final = frozenset({"node_id", "sha256", "from", "to"})

NEWEST_FIRST: Final = ("-accepted_at", "-id")

log = structlog.get_logger(__name__)
Position = tuple[datetime, int]
Page = KeysetPage[Receipt]


@dataclass(frozen=True)
class PageWanted:
    """A page of at most `limit` receipts, after a position in the order newest first, or before it."""

    read: Callable[[ReceiptQuerySet], Page]
    limit: int
    position: Position | None = None
    backwards: bool = False


def page_after(found: ReceiptQuerySet, cursor: str | None, *, limit: int) -> PageWanted:
    """The page after a cursor, or the first one. Raises ApiError 422 for a cursor that is none of ours."""

    def read(receipts: ReceiptQuerySet) -> Page:
        return keyset_page(receipts, cursor=cursor, limit=limit, fields=NEWEST_FIRST)

    return PageWanted(read, limit, position_of(found, cursor) if cursor else None)


def position_of(found: ReceiptQuerySet, cursor: str) -> Position:
    """Where a cursor stands. Raises ApiError 422 for one that is none of ours."""
    accepted_at, id = cursor_keys(found, cursor, ("accepted_at", "id"))
    return accepted_at, id


def find_page(
    found: ReceiptQuerySet, wanted: PageWanted, search: ReceiptFilter, user: object, *, at: datetime
) -> Page:
    """The page of what a valid search found."""
    given = {name for name, value in search.form.cleaned_data.items() if value not in (None, "")}
    if given <= _INDEXED:
        return wanted.read(found)
    page = in_time(lambda: wanted.read(found), seconds=QUICK_SECONDS)
    if page is None:
        page = _by_ids(found, wanted, search, user, at=at)
    return wanted.read(found) if page is None else page


def _by_ids(
    found: ReceiptQuerySet, wanted: PageWanted, search: ReceiptFilter, user: object, *, at: datetime
) -> Page | None:
    """The page by ids of ClickHouse. None if it cannot tell them now, or not all of them hold any more."""
    given = search.form.cleaned_data
    since = given["from"].start if given["from"] else None
    until = given["to"].end if given["to"] else None
    complete = completeness(at=at, since=since, until=until)
    if complete.gap is not None or not complete.origin:
        return None
    most = 2 * wanted.limit + 1
    try:
        conditions = conditions_of(search, user)
        as_of, settled = _settled(conditions, complete, wanted, most)
    except MatchesNothing:
        as_of, settled = complete.as_of, []
    except MetricsError as error:
        log.info("the metrics store does not find a page", error=str(error))
        return None
    positions = [*settled, *_newer(found, as_of, wanted)]
    page = wanted.read(
        found.filter(
            accepted_at__in={accepted_at for accepted_at, _ in positions}, id__in={id for _, id in positions}
        )
    )
    ends = page.previous is None if wanted.backwards else page.next is None
    # a verdict may have changed since; then there may be others that would fill the page
    return None if ends and len(settled) == most else page


def _settled(
    conditions: SearchConditions, complete: Complete, wanted: PageWanted, most: int
) -> tuple[datetime, list[Position]]:
    """The next positions that ClickHouse has, and the moment before which it has them all."""

    def ask() -> tuple[datetime, list[Position]]:
        return complete.as_of, search_positions(
            filled_store(complete),
            accepted_before(conditions, complete.as_of),
            beyond=wanted.position,
            descending=not wanted.backwards,
            limit=most,
        )

    if wanted.position is not None:
        return patiently(ask)
    key = f"receipts:first:1:{most}:{digest_of(conditions, complete.origin)}"
    first: Remembered[tuple[datetime, list[Position]]] = Remembered(key, keep_seconds=KEPT_SECONDS)
    known = first.get()
    if known is None:
        known = patiently(ask)
        first.set(known)
    return known


def _newer(found: ReceiptQuerySet, as_of: datetime, wanted: PageWanted) -> Sequence[Any]:
    """The positions since then, as many as a page could show, from PostgreSQL."""
    if wanted.position is not None and not wanted.backwards and wanted.position[0] < as_of:
        return ()
    order = ("accepted_at", "id") if wanted.backwards else ("-accepted_at", "-id")
    newer = found.filter(accepted_at__gte=as_of)
    if wanted.position is not None:
        side = "gt" if wanted.backwards else "lt"
        at, id = wanted.position
        newer = newer.filter(Q(**{f"accepted_at__{side}": at}) | Q(**{"accepted_at": at, f"id__{side}": id}))
    # one more than the page, for its cursor
    return list(newer.order_by(*order).values_list("accepted_at", "id")[: wanted.limit + 1])
