"""The life of amounts through the real actions: accrued, held, released, final, ready, exported, returned, excluded.

Whatever happened, earnings_fsck finds nothing, and the API, the files and the statements say the same.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from earnings.accrual import accrue_all, decide
from earnings.accrual.fsck import examine
from earnings.figures.scope import Scope
from earnings.figures.sums import sums
from earnings.models import HeldItem, NodeBalance, Payment, Statement, VerdictState
from earnings.payouts import export, mark_ready, return_payment
from earnings.statements.storing import store_due
from jatevo.accounts.models import Role, User
from nodes.actions import suspect
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.earnings.accrual.test_accrue import active_node, receipt
from tests.earnings.payouts.earners import wallet
from tests.earnings.rows import make_rate
from tests.factories import OrgFactory, UserFactory
from tests.machines import bearer

pytestmark = pytest.mark.django_db

WORK = datetime(2026, 10, 5, 12, tzinfo=UTC)
FINAL = WORK + timedelta(days=10)


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN, org=None)


@pytest.fixture
def operator() -> User:
    return UserFactory.create()


@pytest.fixture
def node(operator: User) -> Node:
    """A node that has worked, and another organisation's that claims one of the same requests."""
    make_rate(input_usd="9999.999999", output_usd="0.333333", cache_hit_discount="0.3333")
    node = active_node("node-a", since=WORK - timedelta(days=40), org=operator.org, reputation=90)
    rival = active_node("rival", since=WORK - timedelta(days=40), org=OrgFactory.create(), reputation=90)
    for number in range(5):
        receipt(node, WORK + timedelta(minutes=number), tokens_input=1003 + number, request_id=f"r_{number}")
    receipt(node, WORK, after=7200, request_id="r_late")
    receipt(node, WORK, seconds=1, tokens_output=1_000_000, request_id="r_fast")
    receipt(node, WORK, outcome="error", request_id="r_error")
    receipt(rival, WORK, request_id="r_0")
    receipt(rival, WORK, cache_hit=True, request_id="r_rival")
    accrue_all(at=WORK + timedelta(hours=3))
    return node


def contradictions() -> dict[str, Any]:
    return {result.key: result.findings for result in examine(full=True) if not result.ok}


def balance(node: Node) -> NodeBalance:
    return NodeBalance.objects.get(node=node)


def everywhere(operator: User, node: Node) -> Decimal:
    """The fees as figures, API and files say them, which must be the same."""
    fees = sums(Scope(operator.org_id)).fees_usd
    of_node = Client().get(f"/v1/earnings/{node.pk}", headers=bearer(operator)).json()
    asked = {"from": "2026-10-01", "to": "2026-10-31"}
    series = Client().get("/v1/earnings", asked, headers=bearer(operator)).json()
    assert Decimal(of_node["fees_usd"]) == fees == sum(Decimal(row["fees_usd"]) for row in series["results"])
    browser = Browser().hold_session(operator)
    for what, name in (("receipts", "fee_usd"), ("lines", "fees_usd"), ("periods", "fees_usd")):
        answer = browser.get(f"/earnings/export/{what}.jsonl", {**asked, "state": "payable"})
        rows = [json.loads(line) for line in answer.getvalue().decode().splitlines()]
        assert sum(Decimal(row[name]) for row in rows) == fees, what
    return fees


def test_books_agree_at_every_step_of_an_amounts_life(
    admin: User, operator: User, node: Node, settings: Any
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "exports": "1000/minute"}

    def sound() -> None:
        assert contradictions() == {}
        everywhere(operator, node)

    sound()
    assert {held.request_id: held.rule for held in HeldItem.objects.filter(node=node)} == {
        "r_0": "one_per_request", "r_late": "late", "r_fast": "implausible",
    }  # fmt: skip
    late = HeldItem.objects.filter(request_id="r_late")
    decide(late, state=VerdictState.PAYABLE, by=admin, reason="explained", at=WORK + timedelta(days=1))
    sound()
    accrue_all(at=FINAL)  # the day becomes final
    sound()
    fast = HeldItem.objects.filter(request_id="r_fast")
    decide(fast, state=VerdictState.EXCLUDED, by=admin, reason="impossible", at=FINAL)
    sound()
    wallet(node.org)
    marked = mark_ready(nodes=[node.pk], by=admin, at=FINAL, reason="October")
    assert not marked.refused
    sound()
    export(by=admin, at=FINAL + timedelta(days=1), reason="October")
    (payment,) = Payment.objects.all()
    assert payment.carried_out_usd > 0
    sound()
    return_payment(payment=payment, by=admin, at=FINAL + timedelta(days=2), reason="bounced")
    assert balance(node).accrued == payment.paid_usd
    sound()
    mark_ready(nodes=[node.pk], by=admin, at=FINAL + timedelta(days=3), reason="October again")
    export(by=admin, at=FINAL + timedelta(days=3), reason="October again")
    sound()
    suspect_fraud(node, admin)
    accrue_all(at=FINAL + timedelta(days=5))
    assert balance(node).accrued < 0  # what was paid is held now, and nets against what comes
    sound()
    store_due(at=datetime(2026, 12, 12, tzinfo=UTC))
    assert set(Statement.objects.filter(org=operator.org).values_list("month__month", flat=True)) == {10}
    sound()


def suspect_fraud(node: Node, admin: User) -> None:
    suspect(
        node=node, by=admin, reason="invented tokens", at=FINAL + timedelta(days=4),
        doubtful_from=WORK - timedelta(days=1),
    )  # fmt: skip
