"""Which nodes an exemption covers is the same in Python, in a queryset and in SQL."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from nodes.models import Exemption, ExemptionKind
from nodes.models.coverage import covered_nodes_sql, covers, covers_sql
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db


def test_the_five_askers_agree() -> None:
    nodes = [NodeFactory.create(region=region) for region in ("eu", "eu", "us")]
    now = timezone.now()
    for node, region in ((nodes[0], ""), (nodes[2], ""), (None, "eu"), (None, "ap"), (None, "")):
        kind = ExemptionKind.MAINTENANCE if node else ExemptionKind.INCIDENT
        Exemption.objects.create(
            kind=kind,
            node=node,
            region=region,
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            created_by="x",
        )
    everything = [(each.pk, each.node_id, each.region) for each in Exemption.objects.all()]
    by_values = {
        (pk, node.pk)
        for pk, node_id, region in everything
        for node in nodes
        if covers(node_id, region, node.pk, node.region)
    }
    by_queryset = {(each.pk, node.pk) for node in nodes for each in Exemption.objects.of_node(node)}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT e.id, n.id FROM nodes_exemption e JOIN nodes_node n ON {covers_sql('e', 'n')}"  # noqa: S608
        )
        by_condition = set(cursor.fetchall())
        cursor.execute(covered_nodes_sql("nodes_exemption", "e.id"))
        by_join = {(pk, node_id) for node_id, pk in cursor.fetchall()}
    assert by_values == by_queryset == by_condition == by_join
    assert len(by_values) == 1 + 1 + 2 + 0 + 3
