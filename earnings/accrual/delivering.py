"""Verdicts for the search of receipts, whoever gave them: accrual, a person, a finding of fraud.

The database notes which verdicts a statement appended (`VerdictsToDeliver`, migration 0012), some thousands in a row,
so that none is delivered before it is committed and none is lost. A verdict's id is its version: all are appended under one lock
(`locking`), so of two verdicts on a receipt the later one has the higher id.
"""

from collections.abc import Sequence
from datetime import date, datetime

from django.db import connection

from earnings.models import VerdictsToDeliver
from receipts.slots import JudgedReceipt

_TAKE = """
DELETE FROM earnings_verdictstodeliver WHERE id = (
    SELECT id FROM earnings_verdictstodeliver ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING days, first_id, last_id
"""
# without those that are being delivered
_FORGET = """
DELETE FROM earnings_verdictstodeliver WHERE id IN (SELECT id FROM earnings_verdictstodeliver FOR UPDATE SKIP LOCKED)
"""
# OFFSET 0 makes the database look each item up, since new partitions have no statistics yet
_TAKEN = """
SELECT v.receipt_id, i.accepted_at, v.state, i.fee_usd, v.id
FROM earnings_verdict v
CROSS JOIN LATERAL (
    SELECT accepted_at, fee_usd FROM earnings_item WHERE day = v.day AND receipt_id = v.receipt_id OFFSET 0
) i
WHERE v.day = ANY (%(days)s) AND v.id BETWEEN %(first)s AND %(last)s
"""
_OF = """
SELECT r.receipt_id, i.accepted_at, v.state, i.fee_usd, v.id
FROM unnest(%(days)s::date[], %(ids)s::bigint[]) AS r (day, receipt_id)
CROSS JOIN LATERAL (
    SELECT accepted_at, fee_usd FROM earnings_item WHERE day = r.day AND receipt_id = r.receipt_id OFFSET 0
) i
CROSS JOIN LATERAL (
    SELECT id, state FROM earnings_verdict WHERE day = r.day AND receipt_id = r.receipt_id ORDER BY id DESC LIMIT 1
) v
"""


class Verdicts:
    """The `PaymentFeed` of receipts."""

    def take(self) -> list[JudgedReceipt] | None:
        """The oldest verdicts that wait. They are delivered when the transaction commits."""
        with connection.cursor() as cursor:
            cursor.execute(_TAKE)
            row = cursor.fetchone()
            if row is None:
                return None
            days, first, last = row
            cursor.execute(_TAKEN, {"days": days, "first": first, "last": last})
            return [JudgedReceipt(*record) for record in cursor.fetchall()]

    def forget(self) -> None:
        """Before all receipts are filled again: they are read with the verdicts that hold then."""
        with connection.cursor() as cursor:
            cursor.execute(_FORGET)

    def waiting_since(self) -> datetime | None:
        """The start of the oldest transaction of which verdicts wait."""
        return VerdictsToDeliver.objects.order_by("id").values_list("created_at", flat=True).first()

    def of(self, receipts: Sequence[tuple[date, int]]) -> list[JudgedReceipt]:
        """The newest verdicts of the receipts. One query."""
        with connection.cursor() as cursor:
            cursor.execute(
                _OF, {"days": [day for day, _ in receipts], "ids": [number for _, number in receipts]}
            )
            return [JudgedReceipt(*record) for record in cursor.fetchall()]
