"""The ledger's writer for payouts: amounts that move from one account to another.

Whoever posts has the lock of the accrual and of decisions (`earnings/accrual/locking.py`) until the end of the
transaction, and takes it before any row. So what was read under it still holds when it is posted, and nobody
waits in a circle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from earnings.models import Account, MovementKind


@dataclass(frozen=True)
class Route:
    """Which way an amount goes. A negative amount goes the other way."""

    kind: MovementKind
    source: Account
    target: Account


READY: Final = Route(MovementKind.READY, Account.ACCRUED, Account.READY)
UNREADY: Final = Route(MovementKind.UNREADY, Account.READY, Account.ACCRUED)
EXPORT: Final = Route(MovementKind.EXPORT, Account.READY, Account.EXPORTED)
RETURN: Final = Route(MovementKind.RETURN, Account.EXPORTED, Account.ACCRUED)
CARRY_OUT: Final = Route(MovementKind.CARRY_OUT, Account.EXPORTED, Account.CARRIED)
CARRY_IN: Final = Route(MovementKind.CARRY_IN, Account.CARRIED, Account.EXPORTED)

_POST_LINES_SQL = """
INSERT INTO earnings_movement (at, kind, from_account, to_account, amount_usd, line_id, node_id, org_id,
    payout_id, payment_id, actor, reason)
SELECT %(ledger_at)s, %(ledger_kind)s,
       CASE WHEN entry.amount_usd > 0 THEN %(ledger_source)s ELSE %(ledger_target)s END,
       CASE WHEN entry.amount_usd > 0 THEN %(ledger_target)s ELSE %(ledger_source)s END,
       abs(entry.amount_usd), line.id, line.node_id, line.org_id,
       entry.payout_id, entry.payment_id, %(ledger_actor)s, %(ledger_reason)s
FROM ({entries}) AS entry (line_id, amount_usd, payout_id, payment_id)
JOIN earnings_line line ON line.id = entry.line_id
WHERE entry.amount_usd <> 0
ORDER BY line.id
"""
_POST_CARRIED_SQL = """
INSERT INTO earnings_movement (at, kind, from_account, to_account, amount_usd, line_id, node_id, org_id,
    payout_id, payment_id, actor, reason)
SELECT %(at)s, %(kind)s, %(source)s, %(target)s, entry.amount_usd, NULL, p.node_id, p.org_id, NULL, p.id,
       %(actor)s, ''
FROM unnest(%(payments)s::bigint[], %(amounts)s::numeric[]) AS entry (payment_id, amount_usd)
JOIN earnings_payment p ON p.id = entry.payment_id
WHERE entry.amount_usd > 0
ORDER BY p.id
"""


def post_lines(
    route: Route,
    entries: str,
    params: Mapping[str, Any],
    *,
    at: datetime,
    actor: str,
    reason: str = "",
) -> int:
    """Posts one movement for each row of the query `entries`. Returns how many.

    The query gives (line_id, amount_usd, payout_id, payment_id), the last two as bigint or NULL::bigint. A
    negative amount goes the other way, and 0 posts nothing. `at` is the date that statements use.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _POST_LINES_SQL.format(entries=entries),
            {
                **params,
                "ledger_at": at,
                "ledger_kind": route.kind,
                "ledger_source": route.source,
                "ledger_target": route.target,
                "ledger_actor": actor,
                "ledger_reason": reason,
            },
        )
        return cursor.rowcount


def post_carried(route: Route, amounts_usd: Mapping[int, Decimal], *, at: datetime, actor: str) -> None:
    """Posts the part of a cent that each payment leaves (CARRY_OUT) or takes up (CARRY_IN). 0 posts nothing.

    It belongs to the wallet: to the payment's node, or to the organisation as a whole.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _POST_CARRIED_SQL,
            {
                "at": at,
                "kind": route.kind,
                "source": route.source,
                "target": route.target,
                "payments": list(amounts_usd),
                "amounts": list(amounts_usd.values()),
                "actor": actor,
            },
        )
