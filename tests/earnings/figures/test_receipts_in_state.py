"""The search by payment finds the receipts that the list shows in that state, and no others."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from earnings.figures import receipts_in_state
from nodes.models import Node
from receipts.filters import ReceiptFilter
from receipts.models import Receipt
from receipts.slots import PAYMENT_STATES, payments
from tests.earnings.rows import earn, judge, make_rate
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db
ENDED = datetime(2026, 3, 4, 23, 59, 50, tzinfo=UTC)


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create()
    make_rate()
    earn(made, ENDED, request_id="r_payable")
    earn(made, ENDED, request_id="r_held", state="held", rule="late")
    earn(made, ENDED, request_id="r_excluded", state="excluded", rule="outcome")
    # accepted on another UTC day than it ended
    earn(made, ENDED, request_id="r_late", state="held", rule="late", accepted_at=ENDED + timedelta(days=2))
    released = earn(made, ENDED, request_id="r_released", state="held", rule="dispatch")
    judge(released, "payable", at=ENDED + timedelta(hours=1), actor="admin", reason="checked")
    covered = earn(made, ENDED + timedelta(days=40), request_id="r_covered")
    judge(covered, "held", at=ENDED + timedelta(days=41), rule="fraud")
    confirmed = earn(made, ENDED + timedelta(days=40), request_id="r_fraud", state="held", rule="fraud")
    judge(confirmed, "excluded", at=ENDED + timedelta(days=42), rule="fraud")
    ReceiptFactory(node=made, request_id="r_pending", at=ENDED)
    earn(NodeFactory.create(), ENDED, request_id="r_of_another")
    return made


def found(state: str) -> set[str]:
    chosen = ReceiptFilter({"payment": state}, queryset=Receipt.objects.all())
    assert chosen.is_valid(), chosen.errors
    return set(chosen.qs.values_list("request_id", flat=True))


@pytest.mark.parametrize("few", [0, 1, 5_000])
def test_each_state_has_the_receipts_with_that_chip_and_no_others(
    node: Node, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts_in_state, "FEW", few)
    receipts = {receipt.id: receipt.request_id for receipt in Receipt.objects.all()}
    shown = payments(list(Receipt.objects.all()))
    for state in PAYMENT_STATES:
        assert found(state) == {receipts[key] for key, each in shown.items() if each.state == state}, state
    assert found("held") == {"r_held", "r_late", "r_covered"}
    assert found("excluded") == {"r_excluded", "r_fraud"}
    assert found("pending") == {"r_pending"}
    assert "r_released" in found("payable")


@pytest.mark.parametrize("state", PAYMENT_STATES)
def test_the_number_of_queries_does_not_grow_with_the_receipts(node: Node, state: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        found(state)
    assert len(queries) <= 2
