"""The totals of lines, which the database keeps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum

from earnings.figures.scope import Scope
from earnings.figures.sums import NAMES
from earnings.models import DayTotal, Line, NodeTotal
from nodes.models import Node
from tests.earnings.rows import earn, finalise, judge, make_rate
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)


def summed_anew(*keys: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = Line.objects.order_by().values(*keys).annotate(**{f"s_{name}": Sum(name) for name in NAMES})
    return {tuple(row[key] for key in keys): {name: row[f"s_{name}"] for name in NAMES} for row in rows}


def kept(model: Any, *keys: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {
        tuple(getattr(row, key) for key in keys): {name: getattr(row, name) for name in NAMES}
        for row in model.objects.all()
    }


def test_totals_follow_every_change_of_lines() -> None:
    make_rate()
    one, other = NodeFactory.create(), NodeFactory.create()
    for number in range(6):
        earn((one, other)[number % 2], AT - timedelta(days=number % 3), tokens_input=number * 997 + 1)
    held = earn(one, AT, state="held", rule="late", cause="late", model="qwen3")
    earn(other, AT, state="excluded", rule="outcome", cause="failed", confirmed=True)
    judge(held, "payable", at=AT, actor="admin@example.org", reason="seen", confirmed=True)
    finalise(AT.date(), at=AT)
    assert kept(NodeTotal, "node_id", "org_id") == summed_anew("node_id", "org_id")
    assert kept(DayTotal, "org_id", "day", "model") == summed_anew("org_id", "day", "model")
    Line.objects.update(receipts=0, payable_receipts=0, held_receipts=0, excluded_receipts=0)
    assert set(NodeTotal.objects.values_list("receipts", flat=True)) == {0}


def test_totals_follow_lines_that_are_removed() -> None:
    rate, node = make_rate(), NodeFactory.create()
    line = Line.objects.create(
        node=node, org=node.org, day=AT.date(), model="m", rate=rate, receipts=2, payable_receipts=2,
        payable_usd=Decimal("0.0000000000000003"),
    )  # fmt: skip
    line.delete()
    assert NodeTotal.objects.get().payable_usd == 0
    assert DayTotal.objects.get().receipts == 0


def test_a_node_that_changed_hands_has_a_total_of_each_organisation() -> None:
    node: Node = NodeFactory.create()
    earn(node, AT - timedelta(days=1))
    former = node.org_id
    node.org = OrgFactory.create()
    node.save(update_fields=["org"])
    earn(node, AT)
    assert set(NodeTotal.objects.values_list("org_id", "receipts")) == {(former, 1), (node.org_id, 1)}
    assert Scope(former).to_date


@pytest.mark.parametrize("table", ["earnings_nodetotal", "earnings_daytotal"])
@pytest.mark.parametrize("change", ["UPDATE {} SET payable_usd = 1000", "DELETE FROM {}", "TRUNCATE {}"])
def test_nobody_writes_totals_but_the_database(table: str, change: str) -> None:
    earn(NodeFactory.create(), AT)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change.format(table))
