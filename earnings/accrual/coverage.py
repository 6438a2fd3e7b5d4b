"""Which nodes findings of fraud cover now, and which days must be judged again because that changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from earnings.rules.facts import Coverage

# The finding's node from its first doubtful receipt on, the nodes related to it, and while it is open also what its
# organisation registered since. '-infinity' covers all that a node ever did.
_CURRENT = """
SELECT f.id AS finding_id, f.node_id, f.state, f.doubtful_from AS since
FROM nodes_fraudfinding f WHERE f.state <> 'cleared'
UNION
SELECT f.id, r.node_id, f.state, '-infinity'
FROM nodes_fraudfinding f JOIN nodes_fraudrelation r ON r.finding_id = f.id AND r.lifted_at IS NULL
WHERE f.state <> 'cleared' AND r.node_id <> f.node_id
UNION
SELECT f.id, n.id, f.state, '-infinity'
FROM nodes_fraudfinding f JOIN nodes_node c ON c.id = f.node_id
JOIN nodes_node n ON n.org_id = c.org_id AND n.id <> c.id AND n.created_at >= f.opened_at
WHERE f.state = 'open'
"""

# Whose lines a finding covers, decided or not. A clear lifts the relations in force then, so these count as well.
_WHOSE = """
WITH finding AS (SELECT * FROM nodes_fraudfinding WHERE id = %(finding)s), covered AS (
    SELECT f.node_id, (f.doubtful_from AT TIME ZONE 'UTC')::date AS since FROM finding f
    UNION
    SELECT r.node_id, '-infinity' FROM finding f JOIN nodes_fraudrelation r ON r.finding_id = f.id
    WHERE r.node_id <> f.node_id AND (r.lifted_at IS NULL OR r.lifted_at >= f.decided_at)
    UNION
    SELECT n.id, '-infinity' FROM finding f JOIN nodes_node c ON c.id = f.node_id
    JOIN nodes_node n ON n.org_id = c.org_id AND n.id <> c.id
        AND n.created_at >= f.opened_at AND n.created_at < COALESCE(f.decided_at, 'infinity')
    WHERE f.state <> 'confirmed'
)
SELECT DISTINCT l.org_id, l.node_id
FROM covered JOIN earnings_line l ON l.node_id = covered.node_id AND l.day >= covered.since
ORDER BY l.org_id, l.node_id
"""

# What differs from what was last taken into account. Then that is brought up to date, in the same statement.
_CHANGES = f"""
WITH current AS MATERIALIZED ({_CURRENT}), changed AS MATERIALIZED (
    SELECT COALESCE(c.node_id, j.node_id) AS node_id, LEAST(c.since, j.since) AS since
    FROM current c FULL JOIN earnings_judgedcoverage j USING (finding_id, node_id)
    WHERE (c.state, c.since) IS DISTINCT FROM (j.state, j.since)
), gone AS (
    DELETE FROM earnings_judgedcoverage j
    WHERE NOT EXISTS (SELECT FROM current c WHERE c.finding_id = j.finding_id AND c.node_id = j.node_id)
), kept AS (
    INSERT INTO earnings_judgedcoverage (finding_id, node_id, state, since)
    SELECT finding_id, node_id, state, since FROM current
    ON CONFLICT (finding_id, node_id) DO UPDATE SET state = excluded.state, since = excluded.since
    WHERE (earnings_judgedcoverage.state, earnings_judgedcoverage.since)
          IS DISTINCT FROM (excluded.state, excluded.since)
)
INSERT INTO earnings_recheckday (node_id, day)
SELECT DISTINCT l.node_id, l.day
FROM changed JOIN earnings_line l ON l.node_id = changed.node_id
WHERE l.day >= (GREATEST(changed.since, '2000-01-01') AT TIME ZONE 'UTC')::date
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class Covered:
    """The findings that cover nodes, by node id."""

    by_node: Mapping[str, tuple[Coverage, ...]]

    @property
    def node_ids(self) -> list[str]:
        return sorted(self.by_node)


def current_coverage() -> Covered:
    """The findings in force, as they are now. Takes part in the transaction that judges by them."""
    by_node: dict[str, list[Coverage]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT finding_id, node_id, state, CASE WHEN isfinite(since) THEN since END"  # noqa: S608 - a constant
            f" FROM ({_CURRENT}) AS current ORDER BY finding_id, node_id"
        )
        for finding, node_id, state, since in cursor.fetchall():
            by_node.setdefault(node_id, []).append(Coverage(finding, state == "confirmed", since))
    return Covered({node_id: tuple(found) for node_id, found in by_node.items()})


def note_changes() -> int:
    """Queues the days whose items a change of findings concerns. Returns how many were queued."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CHANGES)
        return int(cursor.rowcount)


def covered_earners(finding_id: int) -> dict[UUID, list[str]]:
    """The organisations whose lines a finding covers, or covered until it was cleared, with the nodes of these lines.

    A node that moved to another organisation earned its older lines for the former one. Days count as a whole.
    """
    found: dict[UUID, list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_WHOSE, {"finding": finding_id})
        for org_id, node_id in cursor.fetchall():
            found.setdefault(org_id, []).append(node_id)
    return found
