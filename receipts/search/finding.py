"""Pages of receipts that PostgreSQL might look for too long: ClickHouse finds them, PostgreSQL reads them.

PostgreSQL walks its indexes newest first until a page is full. That takes a few milliseconds for whatever there is much
of. What is rare, or not there at all, makes it read millions of rows. So it gets as long as frequent things take. If that
is not enough, ClickHouse is asked for the ids of the page, as far as receipts are settled there; those of the last
seconds come from PostgreSQL. That a search is rare is remembered, and then ClickHouse is asked at once, as it is for those
who see the receipts of a few nodes only. If ClickHouse takes more than a fifth of a second, PostgreSQL gets a tenth before
more is waited.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db.models import Q

from jatevo.metrics.patience import asking
from jatevo.metrics.queries import SearchConditions, search_positions
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import MetricsError
from jatevo.web.paging import KeysetPage, cursor_keys, keyset_page
from jatevo.web.remembered import Remembered
from nodes.models import Node
from receipts.filters import ReceiptFilter
from receipts.models import Receipt, ReceiptQuerySet, sight_of
from receipts.search.as_of import completeness
from receipts.search.conditions import MatchesNothing, accepted_before, conditions_of, looked_up
from receipts.search.in_time import in_time
from receipts.search.totals import digest_of

FREQUENT_SECONDS: Final = 0.025
RARE_FOR_SECONDS: Final = 600
QUICK_SECONDS: Final = 0.1  # for PostgreSQL, if ClickHouse takes longer than USUAL_SECONDS
USUAL_SECONDS: Final = 0.2
PATIENT_SECONDS: Final = 2.0  # for ClickHouse, before PostgreSQL may read until its statement timeout
FIRST_SPAN: Final = timedelta(days=1)
LAST_SPAN: Final = timedelta(days=100)  # beyond it, everything is looked at
LEAST_WIDENING, MOST_WIDENING = 4, 16
# So many nodes, and such a part of all: their receipts ClickHouse reads about as fast as all of one day.
FEW_NODES: Final = 20
FEW_SHARE: Final = 0.05
KEPT_SECONDS: Final = 10  # positions of a first page, which is asked for again and again
# PostgreSQL has an index that leads to these at once.
_LEADING: Final = frozenset({"node_id", "sha256"})
_INDEXED: Final = _LEADING | {"from", "to"}  # which only cut the range

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
    if not _may_be_rare(search, user):
        return wanted.read(found)
    few = looked_up(search)
    if few is not None:
        return wanted.read(_only(found, few))
    walked = found
    if search.looked_up:  # the search now knows that many share the start of the id, and compares it
        walked = search.filter_queryset(search.queryset.all())
    rare: Remembered[bool] = Remembered(_name_of(search, user), keep_seconds=RARE_FOR_SECONDS)
    page = None
    search.seen_nodes = _few_nodes_of(user)
    if search.seen_nodes is None and not rare.get():
        page = in_time(lambda: wanted.read(walked), seconds=FREQUENT_SECONDS)
        if page is not None:
            return page
        rare.set(True)
    candidates = _asked_for(wanted, search, user, at=at)
    page = _by_ids(walked, wanted, candidates, seconds=USUAL_SECONDS)
    if page is None:
        page = in_time(lambda: wanted.read(walked), seconds=QUICK_SECONDS)
    if page is None:
        page = _by_ids(walked, wanted, candidates, seconds=PATIENT_SECONDS)
    # by any index that there is, for as long as it takes
    return wanted.read(found) if page is None else page


def _name_of(search: ReceiptFilter, user: object) -> str:
    """A key for what is remembered of a person's search. Pages of it have the same."""
    given = search.form.cleaned_data
    said = repr((getattr(user, "pk", None), sorted((name, repr(value)) for name, value in given.items())))
    return f"receipts:rare:1:{hashlib.sha256(said.encode()).hexdigest()}"


def _may_be_rare(search: ReceiptFilter, user: object) -> bool:
    """Whether PostgreSQL might read very many receipts for each one of the page.

    That depends on how many of all receipts a person may see, too: it walks an index of all, or sorts all of theirs.
    """
    given = {name for name, value in search.form.cleaned_data.items() if value not in (None, "")}
    if not given <= _INDEXED:
        return True
    return not given & _LEADING and not sight_of(user).everything


def _few_nodes_of(user: object) -> Sequence[str] | None:
    """The ids of the nodes whose receipts the person may see, if these are a few of many. None for all others.

    All that such a person sees is rare, and ClickHouse has a page of it as soon as PostgreSQL would give up.
    """
    sight = sight_of(user)
    if sight.everything:
        return None
    nodes = list(sight.nodes.order_by("pk").values_list("pk", flat=True)[: FEW_NODES + 1])
    return nodes if len(nodes) <= min(FEW_NODES, _all_nodes() * FEW_SHARE) else None


def _all_nodes() -> int:
    """How many nodes there are, as of a minute ago at most."""
    kept: Remembered[int] = Remembered("nodes:all:1", keep_seconds=60)
    if (count := kept.get()) is None:
        count = Node.objects.count()
        kept.set(count)
    return count


def _by_ids(
    found: ReceiptQuerySet, wanted: PageWanted, candidates: "Waiting | None", *, seconds: float
) -> Page | None:
    """The page by ids of ClickHouse. None if it cannot tell them in time, or too few of them hold any more."""
    if candidates is None:
        return None
    try:
        settled = candidates(seconds)
    except MetricsError as error:
        log.info("the metrics store does not find a page", error=str(error))
        return None
    page = wanted.read(_only(found, [*settled.positions, *_newer(found, settled.as_of, wanted)]))
    ends = page.previous is None if wanted.backwards else page.next is None
    # some may not hold any more; then there may be others that would fill the page
    return None if ends and settled.more else page


def _only(found: ReceiptQuerySet, positions: Sequence[Position]) -> ReceiptQuerySet:
    return found.filter(
        accepted_at__in={accepted_at for accepted_at, _ in positions}, id__in={id for _, id in positions}
    )


@dataclass(frozen=True)
class Candidates:
    """The next positions that ClickHouse has, and the moment before which it has them all."""

    as_of: datetime
    positions: Sequence[Position]
    more: bool  # there may be further ones


Waiting = Callable[[float], Candidates]  # waits so many seconds, or raises MetricsError


def _asked_for(wanted: PageWanted, search: ReceiptFilter, user: object, *, at: datetime) -> Waiting | None:
    """Asks ClickHouse for the candidates of the page. None if it cannot know them now."""
    given = search.form.cleaned_data
    since = given["from"].start if given["from"] else None
    until = given["to"].end if given["to"] else None
    complete = completeness(at=at, since=since, until=until, of_verdicts=False)
    if complete.gap is not None or not complete.origin:
        return None
    try:
        conditions = conditions_of(search, user)
    except MatchesNothing:
        return lambda _: Candidates(complete.as_of, [], more=False)
    most = 2 * wanted.limit + 1
    settled = accepted_before(conditions, complete.as_of)
    if wanted.position is not None:
        start = wanted.position[0]
    else:
        start = complete.as_of if until is None else min(until, complete.as_of)
    end = complete.as_of if wanted.backwards else since
    key = f"receipts:first:2:{most}:{digest_of(conditions, complete.origin)}"
    first: Remembered[Candidates] = Remembered(key, keep_seconds=KEPT_SECONDS)

    def ask() -> Candidates:
        few_nodes = search.seen_nodes is not None
        found = _nearest(
            settled, complete.origin, wanted, most, start=start, end=end, whole_at_once=few_nodes
        )
        candidates = Candidates(complete.as_of, *found)
        if wanted.position is None:
            first.set(candidates)  # also when it comes late
        return candidates

    if wanted.position is None and (known := first.get()) is not None:
        return lambda _: known
    try:
        return asking(ask, patience_seconds=PATIENT_SECONDS).within
    except MetricsError as error:
        log.info("the metrics store does not find a page", error=str(error))
        return None


def _nearest(
    conditions: SearchConditions,
    origin: str,
    wanted: PageWanted,
    most: int,
    *,
    start: datetime,
    end: datetime | None,
    whole_at_once: bool,
) -> tuple[Sequence[Position], bool]:
    """Looks at a day from `start` first, and further away as long as too few are found, until `end`.

    ClickHouse reads all that it looks at. Beyond the first day, what is asked for of nodes costs little more if all of it
    is read: it lies together, node by node. With `whole_at_once` even the first day would cost no less.
    """
    store, span = get_store(), FIRST_SPAN
    while True:
        away = start + (span if wanted.backwards else -span)
        beyond_end = end is not None and (away >= end if wanted.backwards else away <= end)
        whole = whole_at_once or beyond_end or span > (FIRST_SPAN if conditions.of_nodes else LAST_SPAN)
        positions, more = search_positions(
            store,
            conditions,
            beyond=wanted.position,
            descending=not wanted.backwards,
            limit=most,
            origin=origin,
            reach=None if whole else away.replace(microsecond=0),
            near=not whole and span == FIRST_SPAN,
        )
        if more or whole:
            return positions, more
        # as much further as it takes to find enough, if they are as frequent there
        span *= min(MOST_WIDENING, max(LEAST_WIDENING, 2 * most // max(1, len(positions))))


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
