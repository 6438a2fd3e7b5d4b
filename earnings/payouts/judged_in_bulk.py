"""All nodes with a balance judged by the database at once: who can be paid, and the order of the payout run.

It decides like `preview`, without saying why. Ten thousand nodes take a tenth of a second, their sentences a
second; a page asks for the sentences of the nodes that it shows.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from earnings.models import Policy
from earnings.payouts.candidates import facts_of_all
from earnings.payouts.paid_alone import PAID_ALONE_SQL, alone_since
from earnings.rules.rounding import CENT


class BulkJudged(NamedTuple):
    """What marking a node ready would do now, for the organisation that it earned for.

    `wallet_usd` is what the address would get with all other amounts that are available or in open payouts, and
    with what one admin alone paid to it lately.
    """

    node_id: str
    org_id: UUID
    possible: bool
    second_needed: bool
    amount_usd: Decimal
    wallet_usd: Decimal


# One condition for each of the eligibility rules, in their order.
_SQL = """
WITH facts AS MATERIALIZED ({facts}), alone AS MATERIALIZED ({alone}), judged AS (
    SELECT node_id, org_id, open_payout_id, unconfirmed,
           CASE WHEN open_payout_id IS NULL THEN available ELSE ready + owed END AS amount,
           available >= %(threshold)s
               AND wallet_id IS NOT NULL
               AND COALESCE(payouts_from <= %(at)s, false)
               AND open_findings = 0 AND confirmed_findings = 0
               AND COALESCE(reputation >= %(reputation)s, false)
               AND (waiting <= 0 OR available > 0) AS possible,
           sum(CASE WHEN open_payout_id IS NULL THEN available ELSE ready + owed END)
               OVER (PARTITION BY chain, address) + COALESCE(alone.paid, 0) AS of_wallet
    FROM facts LEFT JOIN alone USING (chain, address)
)
SELECT node_id, org_id, possible,
       %(has_second)s AND (COALESCE(GREATEST(amount, of_wallet) >= %(confirm_from)s::numeric, false)
                           OR %(confirm_unconfirmed)s AND unconfirmed > 0),
       amount, of_wallet
FROM judged
WHERE open_payout_id IS NULL
ORDER BY possible DESC, amount DESC, node_id COLLATE "C", org_id
"""


def judge_all(*, policy: Policy, at: datetime, admins: int) -> list[BulkJudged]:
    """Every node with a balance and without an open payout: eligible ones first, then larger amounts."""
    facts, params = facts_of_all(policy=policy, at=at)
    params |= {
        "at": at,
        "alone_since": alone_since(at),
        "threshold": max(policy.threshold_usd, CENT),
        "reputation": policy.minimum_reputation,
        "has_second": admins > 1,
        "confirm_from": policy.confirm_from_usd,
        "confirm_unconfirmed": policy.confirm_unconfirmed,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SQL.format(facts=facts, alone=PAID_ALONE_SQL), params)
        return [BulkJudged(*row) for row in cursor.fetchall()]
