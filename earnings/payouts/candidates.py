"""What is known about nodes that might be paid, gathered for all of them with one query."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from earnings.models import Policy
from jatevo.web.postgresql.statements import fetch

Key = tuple[str, UUID]  # a node and the organisation that it earned for


@dataclass(frozen=True)
class Candidate:
    """A node and the organisation it earned for, with all facts that the rules judge.

    `available_usd` is what a payout marked now would contain: what final lines have accrued and the policy's
    hold days have passed for, less what lines owe (`owed_usd`, never positive). `waiting_usd` still waits for
    the hold days, the first part until `waiting_until`. `ready_usd` is already in an open payout.
    """

    node_id: str
    org_id: UUID
    org_name: str
    region: str
    status: str
    reputation: Decimal | None
    available_usd: Decimal
    owed_usd: Decimal
    waiting_usd: Decimal
    waiting_until: datetime | None
    unconfirmed_usd: Decimal
    ready_usd: Decimal
    ready_unconfirmed_usd: Decimal
    open_findings: int
    confirmed_findings: int
    wallet_id: int | None
    wallet_of_node: bool
    chain: str
    address: str
    payouts_from: datetime | None
    wallet_proposed: bool
    open_payout_id: int | None
    open_state: str

    @property
    def key(self) -> Key:
        return self.node_id, self.org_id


def waited_since(policy: Policy, at: datetime) -> datetime:
    """Lines that became final before this moment have waited for the policy's hold days."""
    return at - timedelta(days=policy.hold_days)


_SQL = """
WITH recent AS (
    SELECT l.node_id, l.org_id, sum(b.accrued) AS waiting, min(l.final_at) + %(hold)s AS waiting_until,
           sum(LEAST(b.accrued, b.unconfirmed)) AS unconfirmed
    FROM earnings_line l JOIN earnings_linebalance b ON b.line_id = l.id
    WHERE l.final_at > %(waited)s AND b.accrued > 0 {of_nodes}
    GROUP BY l.node_id, l.org_id
), money AS (
    SELECT l.node_id, l.org_id, l.accrued - COALESCE(r.waiting, 0) AS available, l.owed,
           COALESCE(r.waiting, 0) AS waiting, r.waiting_until,
           l.unconfirmed - COALESCE(r.unconfirmed, 0) AS unconfirmed, l.ready, l.ready_unconfirmed
    FROM earnings_nodebalance l
    LEFT JOIN recent r ON r.node_id = l.node_id AND r.org_id = l.org_id
    WHERE l.node_id IS NOT NULL AND (l.accrued <> 0 OR l.owed <> 0 OR l.ready <> 0) {of_nodes}
), wanted AS (
    SELECT node_id, org_id FROM money
    UNION SELECT l.node_id, l.org_id FROM earnings_payout l WHERE l.state IN ('proposed', 'ready') {of_nodes}
    {and_nodes}
), finding AS (
    SELECT node_id, count(*) FILTER (WHERE state = 'open') AS open,
           count(*) FILTER (WHERE state = 'confirmed') AS confirmed
    FROM (SELECT id, node_id, state FROM nodes_fraudfinding WHERE state <> 'cleared'
          UNION
          SELECT f.id, r.node_id, f.state FROM nodes_fraudrelation r
          JOIN nodes_fraudfinding f ON f.id = r.finding_id
          WHERE r.lifted_at IS NULL AND f.state <> 'cleared') AS binding
    GROUP BY node_id
)
SELECT n.id AS node_id, w.org_id, o.name AS org_name, n.region, n.status, n.reputation,
       COALESCE(m.available, 0) AS available, COALESCE(m.owed, 0) AS owed, COALESCE(m.waiting, 0) AS waiting,
       m.waiting_until, COALESCE(m.unconfirmed, 0) AS unconfirmed, COALESCE(m.ready, 0) AS ready,
       COALESCE(m.ready_unconfirmed, 0) AS ready_unconfirmed,
       COALESCE(f.open, 0) AS open_findings, COALESCE(f.confirmed, 0) AS confirmed_findings,
       COALESCE(own.id, whole.id) AS wallet_id, own.id IS NOT NULL AS wallet_of_node,
       COALESCE(own.chain, whole.chain, '') AS chain, COALESCE(own.address, whole.address, '') AS address,
       CASE WHEN own.id IS NULL THEN whole.payouts_from ELSE own.payouts_from END AS payouts_from,
       n.wallet_address <> ''
           OR w.org_id IN (SELECT org_id FROM earnings_wallet WHERE state = 'proposed' AND node_id IS NULL)
           OR (w.org_id, w.node_id) IN (SELECT org_id, node_id FROM earnings_wallet
                                        WHERE state = 'proposed' AND node_id IS NOT NULL)
           AS wallet_proposed,
       p.id AS open_payout_id, COALESCE(p.state, '') AS open_state
FROM wanted w
JOIN nodes_node n ON n.id = w.node_id
JOIN accounts_org o ON o.id = w.org_id
LEFT JOIN money m ON m.node_id = w.node_id AND m.org_id = w.org_id
LEFT JOIN finding f ON f.node_id = w.node_id
LEFT JOIN earnings_wallet own ON own.node_id = w.node_id AND own.org_id = w.org_id AND own.state = 'confirmed'
LEFT JOIN earnings_wallet whole ON whole.org_id = w.org_id AND whole.node_id IS NULL AND whole.state = 'confirmed'
LEFT JOIN earnings_payout p ON p.node_id = w.node_id AND p.org_id = w.org_id AND p.state IN ('proposed', 'ready')
"""
_OF_NODES = "AND l.node_id = ANY(%(nodes)s::text[])"
_AND_NODES = "UNION SELECT id, org_id FROM nodes_node WHERE id = ANY(%(nodes)s::text[])"


def facts_of_all(*, policy: Policy, at: datetime) -> tuple[str, dict[str, Any]]:
    """A query, with its parameters, for the facts of all nodes with any balance.

    Its columns are named like the fields of a Candidate, amounts without `_usd`.
    """
    return _SQL.format(of_nodes="", and_nodes=""), _moments(policy, at)


def _moments(policy: Policy, at: datetime) -> dict[str, Any]:
    return {"waited": waited_since(policy, at), "hold": timedelta(days=policy.hold_days)}


def candidates(
    node_ids: Collection[str] | None, *, policy: Policy, at: datetime, org_id: UUID | None = None
) -> list[Candidate]:
    """The facts of these nodes, by id; of all nodes with any balance if `node_ids` is None. One query.

    A node that earned for two organisations appears once for each. `org_id` leaves out the other ones.
    """
    if node_ids is None:
        facts, params = facts_of_all(policy=policy, at=at)
    else:
        facts = _SQL.format(of_nodes=_OF_NODES, and_nodes=_AND_NODES)
        params = _moments(policy, at) | {"nodes": sorted(node_ids)}
    # to plan it takes as long as to execute it
    found = [Candidate(*row) for row in fetch(f"{facts} ORDER BY node_id, org_id", params)]
    return found if org_id is None else [each for each in found if each.org_id == org_id]
