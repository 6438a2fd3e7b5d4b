"""Asking a fleet: what it costs to ask a node does not grow with how many others have been asked."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.utils import timezone

from jatevo.web.postgresql.statements import fetch
from nodes.actions import asking
from nodes.models import Challenge, Node
from nodes.rules.challenges import AskedNode
from nodes.rules.lifecycle import Phase, Status
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db


def asked_nodes(nodes: list[Node]) -> dict[str, AskedNode]:
    return {
        node.pk: AskedNode(
            phase=Phase.ACTIVE,
            fraud=False,
            endpoint="",
            reachable=False,
            probing_since=None,
            probed_at=None,
            audited_at=None,
            challenged_at=None,
            proof_waiting=False,
        )
        for node in nodes
    }


def scans_of(plan: Mapping[str, Any], table: str, *, apart: bool = False) -> Iterator[bool]:
    """For each scan of the table whether it is asked for each row anew, by what the row is about."""
    apart = apart or plan.get("Parent Relationship") == "SubPlan"
    if plan.get("Relation Name") == table and "Scan" in plan["Node Type"]:
        yield apart
    for part in plan.get("Plans", ()):
        yield from scans_of(part, table, apart=apart)


def test_node_is_compared_with_its_own_challenges_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = NodeFactory.create_batch(90, status=Status.ACTIVE, endpoint="")
    fleet, group = nodes[:80], nodes[80:]
    at = timezone.now()
    for node in fleet:  # one by one, so that the statement's plan is of the time when there were few
        assert asking.ask_due(nodes=asked_nodes([node]), at=at)
    plans: list[Mapping[str, Any]] = []

    def explain(sql: str, params: Any) -> list[tuple[str]]:
        ((found,),) = fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        plans.append(found[0]["Plan"])
        return [(node.pk,) for node in group]

    monkeypatch.setattr(asking, "fetch", explain)
    assert len(asking.ask_due(nodes=asked_nodes(group), at=at)) == len(group)
    assert Challenge.objects.count() == len(nodes)
    scans = list(scans_of(plans[0], "nodes_challenge"))
    assert scans
    assert all(scans), "as a join, it would compare each node with the challenges of all"
