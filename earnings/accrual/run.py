"""The accrual's run: batch after batch, each in one transaction, one run at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction

from earnings.accrual import itemise, recording
from earnings.accrual.contested import judge_contested
from earnings.accrual.coverage import current_coverage, note_changes
from earnings.accrual.finality import close_days
from earnings.accrual.locking import try_lock
from earnings.accrual.plain import judge_plain
from earnings.rules.facts import DISPATCH_COUNTS

log = structlog.get_logger(__name__)

BATCH = 100_000
# Of the worker: what a person decides waits for a batch, and a page waits two seconds for a lock.
SMALL_BATCH = 5_000
REQUESTS_AT_ONCE = 5_000
TOLD_AT_ONCE = 20_000


@dataclass(frozen=True)
class Accrued:
    """What a run did. `left`: it stopped with work left, because its time was up or another run holds the lock."""

    items: int = 0
    verdicts: int = 0
    days_closed: int = 0
    left: bool = False


def accrue(*, at: datetime, seconds: float = 5.0, batch: int = SMALL_BATCH) -> Accrued:
    """Itemises and judges what waits, for about so many seconds, and closes days whose time is over.

    It can run anywhere and be killed at any point. Receipts accepted after the sweeper's last run wait for the
    next one, so that outages are on record before what they explain is judged.
    """
    return _run(at=at, batch=batch, stop_at=time.monotonic() + seconds)


def accrue_all(*, at: datetime, batch: int = BATCH) -> Accrued:
    """Accrues until nothing waits."""
    return _run(at=at, batch=batch, stop_at=float("inf"))


def _run(*, at: datetime, batch: int, stop_at: float) -> Accrued:
    itemise.make_work_tables()
    items = verdicts = 0
    until = _horizon(at)
    with transaction.atomic():
        # under the lock: the lines of a batch that another run judged by the findings of before must be visible
        if not try_lock():
            return Accrued(left=True)
        note_changes()
    after, left = 0, True
    while left:
        if time.monotonic() >= stop_at:
            return Accrued(items, verdicts, left=True)
        with transaction.atomic():
            if not try_lock():
                return Accrued(items, verdicts, left=True)
            taken = itemise.itemise(after=after, until=until, limit=batch)
            if taken.itemised:
                covered = current_coverage()
                rest = judge_plain(covered=covered.node_ids)
                judge_contested(rest, covered=covered, at=at)
                verdicts += recording.record_verdicts(at=at)
        items += taken.itemised
        after, left = taken.last_id, taken.receipts == batch
    for again in (_newly_told, _expired, _rechecked):
        more = True
        while more:
            if time.monotonic() >= stop_at:
                return Accrued(items, verdicts, left=True)
            found = _judge_again(again, at=at)
            if found is None:
                return Accrued(items, verdicts, left=True)
            more, appended = found
            verdicts += appended
    return Accrued(items, verdicts, close_days(at=at))


def _horizon(at: datetime) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_run_at FROM nodes_sweeperclock")
        row = cursor.fetchone()
    return at if row is None else min(at, row[0])


def _judge_again(
    find: Callable[[datetime], tuple[set[str], bool]], *, at: datetime
) -> tuple[bool, int] | None:
    """Judges the requests that `find` gives once more. Returns whether there are more, and the new verdicts.

    None if another run or a person's decision has the lock.
    """
    with transaction.atomic():
        if not try_lock():
            return None
        requests, more = find(at)
        if not requests:
            return more, 0
        judge_contested(requests, covered=current_coverage(), at=at)
        return more, recording.record_verdicts(at=at)


def _newly_told(at: datetime) -> tuple[set[str], bool]:
    """Requests about which a gateway said something new, as far as there are receipts of them.

    The receipt of another request finds what was said when it comes.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH told AS (DELETE FROM receipts_unjudgedrequest WHERE id IN ("
            "SELECT id FROM receipts_unjudgedrequest ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING request_id)"
            " SELECT count(*), array_agg(DISTINCT request_id) FILTER (WHERE EXISTS ("
            "SELECT FROM receipts_receiptidentity i WHERE i.request_id = told.request_id)) FROM told",
            [TOLD_AT_ONCE],
        )
        ((count, known),) = cursor.fetchall()
    return set(known or ()), count == TOLD_AT_ONCE


def _expired(at: datetime) -> tuple[set[str], bool]:
    """Requests with receipts held for a dispatch that can no longer come."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT request_id FROM (SELECT request_id FROM earnings_helditem"
            " WHERE rule = 'dispatch' AND ts_end < %s ORDER BY ts_end, receipt_id LIMIT %s) AS old",
            [at - DISPATCH_COUNTS, REQUESTS_AT_ONCE],
        )
        found = {request_id for (request_id,) in cursor.fetchall()}
    # each is excluded now and no longer found, so another round finds the rest
    return found, bool(found)


def _rechecked(at: datetime) -> tuple[set[str], bool]:
    """Requests of one day of a node, for which a finding of fraud changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM earnings_recheckday WHERE (node_id, day) IN ("
            "SELECT node_id, day FROM earnings_recheckday ORDER BY day, node_id LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING node_id, day"
        )
        row = cursor.fetchone()
        if row is None:
            return set(), False
        cursor.execute("SELECT DISTINCT request_id FROM earnings_item WHERE node_id = %s AND day = %s", row)
        return {request_id for (request_id,) in cursor.fetchall()}, True


def judged_until(*, at: datetime) -> datetime:
    """The moment up to which everything accepted that has a rate has been judged."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT u.accepted_at FROM {itemise.PRICED_IN_QUEUE} ORDER BY u.id LIMIT 1")  # noqa: S608
        oldest = cursor.fetchone()
    return min(_horizon(at), oldest[0] - timedelta(microseconds=1)) if oldest else _horizon(at)
