"""The rows that other tests of earnings build on agree with each other."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db.models import Sum

from earnings.models import HeldItem, Item, Line, LineBalance, NodeBalance
from tests.earnings.rows import earn, finalise, judge, make_rate
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_lines_sum_their_items_and_balances_their_movements() -> None:
    node = NodeFactory.create()
    make_rate(cache_hit_discount="0.25")
    earn(node, NOON, tokens_input=1001, tokens_output=7)
    earn(node, NOON, tokens_input=3, cache_hit=True, confirmed=True)
    held = earn(node, NOON, state="held", rule="late")
    again = earn(node, NOON, state="held", rule="late", with_receipt=False)
    judge(again, "excluded", at=NOON, rule="late", actor="admin@example.org", reason="no explanation")
    finalise(date(2026, 3, 4))
    line = Line.objects.get()
    assert (
        line.payable_usd + line.held_usd + line.excluded_usd
        == Item.objects.aggregate(Sum("fee_usd"))["fee_usd__sum"]
    )
    assert (line.payable_receipts, line.held_receipts, line.excluded_receipts) == (2, 1, 1)
    assert line.payable_usd == Decimal("0.0001001") + Decimal("0.0000028") + Decimal("0.000000225") + Decimal(
        "0.0002"
    )
    assert [each.receipt_id for each in HeldItem.objects.all()] == [held.receipt_id]
    assert LineBalance.objects.get().accrued == NodeBalance.objects.get().accrued == line.payable_usd
    assert LineBalance.objects.get().held == line.held_usd
