"""What one admin alone paid to each address lately. It counts toward the amount from which a second admin is needed,
so that nobody gets around the limit by exporting several times.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from earnings.rules.second_person import ALONE_DAYS

# Payments that came back do not count. `alone_since` is a parameter.
PAID_ALONE_SQL = """
SELECT p.chain, p.address, sum(o.amount_usd) AS paid
FROM earnings_exportfile f
JOIN earnings_payment p ON p.export_id = f.number AND p.returned_at IS NULL
JOIN earnings_payout o ON o.payment_id = p.id AND o.confirmed_by = ''
WHERE f.created_at > %(alone_since)s
GROUP BY p.chain, p.address
"""


def alone_since(at: datetime) -> datetime:
    """Payouts exported after this moment count."""
    return at - timedelta(days=ALONE_DAYS)


def paid_alone(*, at: datetime) -> dict[tuple[str, str], Decimal]:
    """USD by chain and address."""
    with connection.cursor() as cursor:
        cursor.execute(PAID_ALONE_SQL, {"alone_since": alone_since(at)})
        return {(chain, address): paid for chain, address, paid in cursor.fetchall()}
