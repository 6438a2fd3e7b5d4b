"""Whoever appends a verdict, the search gets it: accrual, a person, a finding of fraud."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from earnings.accrual import accrue_all, decide
from earnings.models import HeldItem, Item, Verdict, VerdictState, VerdictsToDeliver
from jatevo.accounts.models import Role
from jatevo.metrics.store import Store
from nodes.actions import suspect
from receipts.models import Receipt
from receipts.search.filling import fill, rebuild
from receipts.search.verdicts import deliver_verdicts
from tests.earnings.accrual.test_accrue import active_node, receipt
from tests.earnings.rows import make_rate
from tests.factories import UserFactory
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]
pytestmark = pytest.mark.django_db
WORK = datetime(2026, 10, 5, 12, tzinfo=UTC)


def in_the_search(store: Store) -> dict[str, tuple[str, Decimal]]:
    rows = store.execute("SELECT request_id, toString(payment), fee_usd FROM receipt_search FINAL")
    return {request_id: (payment, fee) for request_id, payment, fee in rows}


def as_judged() -> dict[str, tuple[str, Decimal]]:
    """The newest verdict of each item, and its fee."""
    return {
        item.request_id: (
            Verdict.objects.filter(receipt_id=item.receipt_id).order_by("-id")[0].state,
            item.fee_usd,
        )
        for item in Item.objects.all()
    }


def test_every_kind_of_verdict_arrives_with_its_fee(chdb_store: Store) -> None:
    admin = UserFactory.create(role=Role.ADMIN, org=None)
    make_rate(input_usd="9999.999999", output_usd="0.333333", cache_hit_discount="0.3333")
    node = active_node("node-a", since=WORK - timedelta(days=40))
    receipt(node, WORK, tokens_input=1003, request_id="r_plain")
    receipt(node, WORK, after=7200, request_id="r_late")
    receipt(node, WORK, seconds=1, tokens_output=1_000_000, request_id="r_fast")
    receipt(node, WORK, outcome="error", request_id="r_error")
    at = WORK + timedelta(hours=3)
    fill(at=at, store=chdb_store)
    assert {payment for payment, _ in in_the_search(chdb_store).values()} == {"pending"}

    accrue_all(at=at)
    assert deliver_verdicts(store=chdb_store) == 4
    assert in_the_search(chdb_store) == as_judged()
    assert {name: payment for name, (payment, _) in in_the_search(chdb_store).items()} == {
        "r_plain": "payable", "r_late": "held", "r_fast": "held", "r_error": "excluded",
    }  # fmt: skip

    late = HeldItem.objects.filter(request_id="r_late")
    decide(late, state=VerdictState.PAYABLE, by=admin, reason="explained", at=at)
    suspect(node=node, by=admin, reason="odd", at=at, doubtful_from=WORK - timedelta(hours=1))
    accrue_all(at=at)
    assert deliver_verdicts(store=chdb_store) >= 2
    assert in_the_search(chdb_store) == as_judged()
    assert in_the_search(chdb_store)["r_plain"][0] == "held"
    assert not VerdictsToDeliver.objects.exists()


def test_verdicts_are_delivered_after_their_receipts_are_gone(chdb_store: Store) -> None:
    make_rate()
    node = active_node("node-a", since=WORK - timedelta(days=40))
    receipt(node, WORK)
    accrue_all(at=WORK + timedelta(hours=3))
    Receipt.objects.all().delete()
    assert deliver_verdicts(store=chdb_store) == 1
    assert in_the_search(chdb_store) == {}
    assert not VerdictsToDeliver.objects.exists()


def test_before_all_are_filled_again_no_verdict_need_be_delivered(chdb_store: Store) -> None:
    make_rate()
    node = active_node("node-a", since=WORK - timedelta(days=40))
    receipt(node, WORK, request_id="r_one")
    at = WORK + timedelta(hours=3)
    accrue_all(at=at)
    assert VerdictsToDeliver.objects.exists()
    rebuild(at=at)
    assert not VerdictsToDeliver.objects.exists()
    fill(at=at, store=chdb_store)
    assert in_the_search(chdb_store) == as_judged() and as_judged()["r_one"][0] == "payable"
