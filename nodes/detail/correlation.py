"""Correlated outages: outages of nodes in the same network (ASN) or region that began with this node's.

An outage is a transition to offline without announced maintenance. Two outages coincide if they began within
COINCIDE of each other. The number expected by chance assumes that all outages of the window are independent
and spread at random (Poisson): a node with o outages begins one within a given 2 x COINCIDE with probability
1 - exp(-o * 2 * COINCIDE / WINDOW). The expected number is that times this node's outages.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import exp, factorial
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.db import connection

from jatevo.accounts.models import User
from nodes.models import Node, NodeTransition
from nodes.rules.lifecycle import Phase, Reason

WINDOW = timedelta(days=14)
COINCIDE = timedelta(minutes=2)
MOST_OUTAGES = 50
COMPANIONS_SHOWN = 5
# The totals of a group change slowly and are expensive, so they are cached.
TOTALS_KEEP_SECONDS = 600
_SHARE_OF_WINDOW = 2 * COINCIDE / WINDOW


@dataclass(frozen=True)
class Companion:
    """A node whose id the reader may know, and how many of the outages coincided with its own."""

    name: str
    coinciding: int
    expected: float

    @property
    def by_chance(self) -> str:
        return in_words(self.expected)


@dataclass(frozen=True)
class CorrelatedNodes:
    """The other nodes of the same ASN or region.

    `strangers` counts nodes of other organisations, without names.
    """

    label: str
    value: str
    others: int
    outages: int
    together: int  # how many others make an outage count as coinciding
    coinciding: int
    expected: float
    companions: list[Companion]
    strangers: int

    @property
    def by_chance(self) -> str:
        return in_words(self.expected)

    @property
    def shared_cause(self) -> bool:
        """Whether a shared cause is likely: more than once, and four times as often as expected by chance."""
        return self.coinciding >= 2 and self.coinciding >= 4 * self.expected


@dataclass(frozen=True)
class Correlation:
    """This node's `outages` in the window, and its groups. Groups without other nodes are left out."""

    outages: int
    groups: list[CorrelatedNodes]
    days: int = WINDOW.days
    within_minutes: int = int(COINCIDE.total_seconds() // 60)


@dataclass(frozen=True)
class _Other:
    """A node with coinciding outages.

    `outages` are the indexes of this node's outages with which they coincide.
    """

    node_id: str
    org_id: UUID
    asn_hint: str
    region: str
    outages: tuple[int, ...]


@dataclass(frozen=True)
class _Totals:
    """The numbers of nodes and outages of the ASN and of the region, including this node's."""

    asn_nodes: int
    asn_outages: int
    region_nodes: int
    region_outages: int

    @property
    def of_asn(self) -> tuple[int, int]:
        return self.asn_nodes, self.asn_outages

    @property
    def of_region(self) -> tuple[int, int]:
        return self.region_nodes, self.region_outages


def correlation(node: Node, reader: User, *, at: datetime) -> Correlation:
    """Correlated outages, for people who manage the node.

    Only ids of nodes of the person's own organisation are shown; admins see all ids.
    """
    starts = _outages_of(node, at)
    groups: list[CorrelatedNodes] = []
    if starts:
        others = _coinciding(node, starts)
        totals = _totals(node, at)
        of_asn = [each for each in others if node.asn_hint and each.asn_hint == node.asn_hint]
        of_region = [each for each in others if each.region == node.region]
        if totals.asn_nodes > 1:
            groups.append(_group("Network", node.asn_hint, totals.of_asn, len(starts), of_asn, reader))
        if totals.region_nodes > 1:
            groups.append(_group("Region", node.region, totals.of_region, len(starts), of_region, reader))
    return Correlation(len(starts), _with_expectations(groups, at))


def chance_of_at_least(together: int, rate: float) -> float:
    """The probability that a Poisson variable with that rate is at least `together`."""
    return max(0.0, 1 - sum(exp(-rate) * rate**count / factorial(count) for count in range(together)))


def in_words(expected: float) -> str:
    """The expected number to a tenth, but never as 0."""
    return f"{expected:.1f}" if expected >= 0.05 else "under 0.1"


def _group(
    label: str, value: str, total: tuple[int, int], outages: int, of_group: list[_Other], reader: User
) -> CorrelatedNodes:
    nodes, group_outages = total
    together = min(2, nodes - 1)
    per_outage = Counter(number for other in of_group for number in other.outages)
    others_rate = max(0, group_outages - outages) * _SHARE_OF_WINDOW
    known = [each for each in of_group if reader.is_admin or each.org_id == reader.org_id]
    known.sort(key=lambda each: (-len(each.outages), each.node_id))
    return CorrelatedNodes(
        label=label,
        value=value,
        others=nodes - 1,
        outages=outages,
        together=together,
        coinciding=sum(count >= together for count in per_outage.values()),
        expected=outages * chance_of_at_least(together, others_rate),
        companions=[Companion(each.node_id, len(each.outages), 0.0) for each in known[:COMPANIONS_SHOWN]],
        strangers=len(of_group) - len(known),
    )


def _with_expectations(groups: list[CorrelatedNodes], at: datetime) -> list[CorrelatedNodes]:
    """The groups with expected numbers, with one query for the outages of all companions shown."""
    names = {each.name for group in groups for each in group.companions}
    if not names:
        return groups
    counted = Counter(
        NodeTransition.objects.filter(node_id__in=names, to_status=Phase.OFFLINE, at__gt=at - WINDOW)
        .exclude(reason=Reason.MAINTENANCE)
        .order_by()
        .values_list("node_id", flat=True)
    )
    return [
        replace(
            group,
            companions=[
                replace(
                    each,
                    expected=group.outages * chance_of_at_least(1, counted[each.name] * _SHARE_OF_WINDOW),
                )
                for each in group.companions
            ],
        )
        for group in groups
    ]


def _outages_of(node: Node, at: datetime) -> list[datetime]:
    """When the newest MOST_OUTAGES outages of the node in the window began."""
    own = node.transitions.filter(to_status=Phase.OFFLINE, at__gt=at - WINDOW, at__lte=at)
    return list(
        own.exclude(reason=Reason.MAINTENANCE).order_by("-id").values_list("at", flat=True)[:MOST_OUTAGES]
    )


# For each outage of this node, a small range of the index on the start of outages; then the nodes by key.
_COINCIDING = """
SELECT n.id, n.org_id, n.asn_hint, n.region, array_agg(DISTINCT own.number)
FROM unnest(%(starts)s::timestamptz[]) WITH ORDINALITY AS own (start, number)
JOIN nodes_nodetransition t
    ON t.to_status = 'offline' AND t.at BETWEEN own.start - %(within)s AND own.start + %(within)s
JOIN nodes_node n ON n.id = t.node_id
WHERE t.reason <> 'maintenance' AND n.id <> %(node)s
    AND (n.region = %(region)s OR (n.asn_hint = %(asn)s AND n.asn_hint <> ''))
GROUP BY n.id
"""


def _coinciding(node: Node, starts: list[datetime]) -> list[_Other]:
    asked: dict[str, Any] = {
        "starts": starts,
        "within": COINCIDE,
        "node": node.pk,
        "region": node.region,
        "asn": node.asn_hint,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COINCIDING, asked)
        return [_Other(row[0], row[1], row[2], row[3], tuple(row[4])) for row in cursor.fetchall()]


_TOTALS = """
WITH counted AS (
    SELECT node_id, count(*) AS outages FROM nodes_nodetransition
    WHERE to_status = 'offline' AND reason <> 'maintenance' AND at > %(since)s GROUP BY node_id
)
SELECT count(*) FILTER (WHERE of_asn), coalesce(sum(outages) FILTER (WHERE of_asn), 0),
       count(*) FILTER (WHERE of_region), coalesce(sum(outages) FILTER (WHERE of_region), 0)
FROM (
    SELECT n.asn_hint = %(asn)s AND n.asn_hint <> '' AS of_asn, n.region = %(region)s AS of_region, c.outages
    FROM nodes_node n LEFT JOIN counted c ON c.node_id = n.id
    WHERE n.region = %(region)s OR (n.asn_hint = %(asn)s AND n.asn_hint <> '')
) AS grouped
"""


def _totals(node: Node, at: datetime) -> _Totals:
    group = hashlib.sha256(f"{node.asn_hint}\n{node.region}".encode()).hexdigest()[:32]
    key = f"outage-totals:{group}"
    known: _Totals | None = cache.get(key)
    if known is None:
        with connection.cursor() as cursor:
            cursor.execute(_TOTALS, {"since": at - WINDOW, "asn": node.asn_hint, "region": node.region})
            known = _Totals(*map(int, cursor.fetchone()))
        cache.set(key, known, timeout=TOTALS_KEEP_SECONDS)
    return known
