"""Finality: a day's amounts enter the ledger 8 days after its end, once everything accepted before was judged."""

from datetime import date, datetime

import structlog
from django.db import connection, transaction

from earnings.accrual.itemise import PRICED_IN_QUEUE
from earnings.accrual.locking import wait_for_lock
from earnings.rules.periods import closes_at, last_closed_day

log = structlog.get_logger(__name__)

_OPEN_DAYS = """
SELECT DISTINCT day FROM earnings_line WHERE final_at IS NULL AND day <= %s ORDER BY day
"""
# A receipt or a dispatch that waits may still belong to the day, and so may a verdict that is to be judged again.
# A receipt that no rate prices is not waited for: it may never get one, and would stop every later day of everybody.
_WAITING = f"""
SELECT EXISTS (SELECT FROM {PRICED_IN_QUEUE} WHERE u.accepted_at < %(closes)s)
    OR EXISTS (SELECT FROM receipts_unjudgedrequest WHERE told_at < %(closes)s)
    OR EXISTS (SELECT FROM earnings_recheckday WHERE day = %(day)s)
"""  # noqa: S608 - constants
_LOCK = "SELECT id FROM earnings_line WHERE day = %s AND final_at IS NULL ORDER BY id FOR NO KEY UPDATE"
_POST = """
INSERT INTO earnings_movement (at, kind, from_account, to_account, amount_usd, line_id, node_id, org_id, actor, reason)
SELECT %(at)s, way.kind, 'network', way.target, way.amount, l.id, l.node_id, l.org_id, 'console', ''
FROM earnings_line l
CROSS JOIN LATERAL (VALUES ('accrue', 'accrued', l.payable_usd), ('hold', 'held', l.held_usd))
    AS way (kind, target, amount)
WHERE l.day = %(day)s AND l.final_at IS NULL AND way.amount > 0
ORDER BY l.id, way.kind
"""
_CLOSE = """
UPDATE earnings_line SET final_at = %(at)s WHERE day = %(day)s AND final_at IS NULL;
INSERT INTO earnings_finalday (day, final_at) VALUES (%(day)s, %(at)s) ON CONFLICT DO NOTHING;
"""


def close_days(*, at: datetime) -> int:
    """Makes the days final whose time is over. Returns how many.

    Lines that come to a final day later, for receipts that had no rate before, are closed in the same way.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_DAYS, [last_closed_day(at)])
        days = [day for (day,) in cursor.fetchall()]
    closed = 0
    for day in days:
        if not _close(day, at=at):
            break
        closed += 1
    return closed


def _close(day: date, *, at: datetime) -> bool:
    asked = {"day": day, "at": at, "closes": closes_at(day)}
    with transaction.atomic(), connection.cursor() as cursor:
        wait_for_lock()
        cursor.execute(_WAITING, asked)
        ((waiting,),) = cursor.fetchall()
        if waiting:
            return False
        cursor.execute(_LOCK, [day])
        cursor.execute(_POST, asked)
        cursor.execute(_CLOSE, asked)
    log.info("a day of earnings is final", day=str(day))
    return True
