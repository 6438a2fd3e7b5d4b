"""The totals of lines and of held items, which the database keeps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Sum

from earnings.figures.held import held_by_cause
from earnings.figures.scope import Scope
from earnings.figures.sums import NAMES
from earnings.models import DayTotal, HeldItem, HeldTotal, Line, NetworkDayTotal, NodeTotal, OrgDayTotal
from nodes.models import Node
from tests.earnings.rows import earn, finalise, judge, make_rate
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
OVER_DAYS: list[tuple[Any, ...]] = [
    (DayTotal, "org_id", "day", "model"),
    (OrgDayTotal, "org_id", "day"),
    (NetworkDayTotal, "day", "model"),
]


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
    for model, *keys in OVER_DAYS:
        assert kept(model, *keys) == summed_anew(*keys)
    Line.objects.update(receipts=0, payable_receipts=0, held_receipts=0, excluded_receipts=0)
    for model in (NodeTotal, *(model for model, *_ in OVER_DAYS)):
        assert set(model.objects.values_list("receipts", flat=True)) == {0}


def test_totals_follow_lines_that_are_removed() -> None:
    rate, node = make_rate(), NodeFactory.create()
    line = Line.objects.create(
        node=node, org=node.org, day=AT.date(), model="m", rate=rate, receipts=2, payable_receipts=2,
        payable_usd=Decimal("0.0000000000000003"),
    )  # fmt: skip
    line.delete()
    assert NodeTotal.objects.get().payable_usd == 0
    for model, *_ in OVER_DAYS:
        assert model.objects.get().receipts == 0


def test_a_node_that_changed_hands_has_a_total_of_each_organisation() -> None:
    node: Node = NodeFactory.create()
    earn(node, AT - timedelta(days=1))
    former = node.org_id
    node.org = OrgFactory.create()
    node.save(update_fields=["org"])
    earn(node, AT)
    assert set(NodeTotal.objects.values_list("org_id", "receipts")) == {(former, 1), (node.org_id, 1)}
    assert Scope(former).to_date


def test_totals_of_what_is_held_follow_every_change_of_held_items() -> None:
    make_rate()
    one, other = NodeFactory.create(), NodeFactory.create()
    late = [earn(one, AT, state="held", rule="late", cause="late", tokens_input=n + 1) for n in range(3)]
    earn(one, AT - timedelta(days=1), state="held", rule="implausible", cause="speed", model="qwen3")
    earn(other, AT, state="held", rule="late", cause="late")
    judge(late[0], "payable", at=AT, actor="admin@example.org", reason="seen")
    HeldItem.objects.filter(receipt_id=late[1].receipt_id).update(rule="implausible", cause="speed")
    anew = HeldItem.objects.order_by().values_list("org_id", "day", "rule", "cause")
    kept_of = HeldTotal.objects.exclude(receipts=0).values_list(
        "org_id", "day", "rule", "cause", "receipts", "fees_usd"
    )
    assert set(kept_of) == set(anew.annotate(n=Count("*"), s=Sum("fee_usd"))) and len(kept_of) == 4
    HeldItem.objects.all().delete()
    assert set(HeldTotal.objects.values_list("receipts", "fees_usd")) == {(0, 0)}


@pytest.mark.parametrize("narrowed", [{}, {"first": AT.date()}, {"model": "m"}])
def test_what_is_held_is_the_same_from_totals_as_from_receipts(narrowed: dict[str, Any]) -> None:
    make_rate()
    node: Node = NodeFactory.create()
    for number in range(6):
        rule, cause = (("late", "late"), ("implausible", "speed"))[number % 2]
        when, model = AT - timedelta(days=number // 3), ("m", "m2")[number % 3 == 0]
        earn(node, when, state="held", rule=rule, cause=cause, tokens_input=number * 997, model=model)
    earn(NodeFactory.create(), AT, state="held", rule="late", cause="late")
    of_org = held_by_cause(Scope(node.org_id, **narrowed))
    assert of_org == held_by_cause(Scope(node.org_id, node.pk, **narrowed)) and len(of_org) == 2
    assert sum(each.receipts for each in held_by_cause(Scope(None))) == 7


@pytest.mark.parametrize(
    ("table", "amount"),
    [
        ("earnings_nodetotal", "payable_usd"),
        ("earnings_daytotal", "payable_usd"),
        ("earnings_orgdaytotal", "payable_usd"),
        ("earnings_networkdaytotal", "payable_usd"),
        ("earnings_heldtotal", "fees_usd"),
    ],
)
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = 1000", "DELETE FROM {}", "TRUNCATE {}"])
def test_nobody_writes_totals_but_the_database(table: str, amount: str, change: str) -> None:
    earn(NodeFactory.create(), AT, state="held", rule="late", cause="late")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change.format(table, amount))
