"""What is judged again long after a request, and while another accrual is under way."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from earnings.accrual import accrue, accrue_all, contested, decisions, run
from earnings.accrual.run import judged_until
from earnings.models import FinalDay, HeldItem, JudgedCoverage, Movement, VerdictState
from jatevo.accounts.models import Role
from jatevo.metrics import retention_policy
from nodes.models import FindingState, FraudCause, FraudFinding, Node
from receipts.models import UnjudgedReceipt
from tests.earnings.accrual.test_accrue import CONFIRMED, NOW, PAYABLE, active_node, dispatch, newest, receipt
from tests.earnings.rows import make_rate
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def default_rate() -> None:
    make_rate()


def suspect(node: Node, **changes: object) -> FraudFinding:
    return FraudFinding.objects.create(
        node=node, cause=FraudCause.ADMIN, opened_at=NOW, opened_by="a@example.org",
        doubtful_from=NOW - timedelta(days=600), **changes,
    )  # fmt: skip


def test_a_finding_that_is_cleared_long_after_leaves_the_request_as_a_gateway_confirmed_it() -> None:
    node = active_node(since=NOW - timedelta(days=600))
    ended = NOW - timedelta(days=500)
    one = receipt(node, ended)
    dispatch(one.request_id, node.id, ended - timedelta(seconds=11))
    accrue_all(at=NOW)
    assert newest(one) == CONFIRMED
    for _ in retention_policy.apply(at=NOW):
        pass
    finding = suspect(node)
    accrue_all(at=NOW)
    assert newest(one)[:3] == ("held", "fraud", "fraud_suspected")
    FraudFinding.objects.filter(pk=finding.pk).update(
        state=FindingState.CLEARED, decided_at=NOW, decided_by="a@example.org", decision="A bug of the agent."
    )
    accrue_all(at=NOW)
    assert newest(one) == CONFIRMED


def test_a_change_of_findings_waits_for_the_accrual_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = receipt(active_node())
    accrue_all(at=NOW)
    finding = suspect(one.node)
    with monkeypatch.context() as under_way:
        under_way.setattr(run, "try_lock", lambda: False)
        assert accrue(at=NOW).left
    assert not JudgedCoverage.objects.filter(finding_id=finding.pk).exists()
    accrue_all(at=NOW)
    assert newest(one)[:2] == ("held", "fraud")


def test_a_receipt_from_before_the_first_rate_keeps_no_day_from_becoming_final() -> None:
    node = active_node()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE earnings_rate DISABLE TRIGGER rate_dated")
        cursor.execute("UPDATE earnings_rate SET holds_from = %s", [NOW - timedelta(days=12)])
    unpriced = receipt(node, NOW - timedelta(days=13))
    receipt(node, NOW - timedelta(days=10))
    accrue_all(at=NOW)
    assert FinalDay.objects.get().day == (NOW - timedelta(days=10)).date()
    assert Movement.objects.count() == 1
    assert UnjudgedReceipt.objects.get().pk == unpriced.id
    assert judged_until(at=NOW) == NOW  # what statements wait for, and as of when pages are


def test_a_decision_about_many_does_not_judge_each_request_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page has five seconds for all of its queries, and a node may have tens of thousands of such receipts."""
    node, admin = active_node(), UserFactory.create(role=Role.ADMIN)
    alone = [receipt(node, NOW - timedelta(hours=1 + n), after=20 * 60) for n in range(3)]
    shared = receipt(node, NOW - timedelta(hours=5), request_id="r_shared", after=20 * 60, hedged=True)
    other = receipt(active_node("macbook-002", org=node.org), request_id="r_shared", hedged=True)
    accrue_all(at=NOW)
    assert newest(other) == PAYABLE
    asked: list[set[str]] = []
    judge = contested.judge_contested

    def listening(requests: set[str], **rest: Any) -> None:
        asked.append(requests)
        judge(requests, **rest)

    monkeypatch.setattr("earnings.accrual.decisions.judge_contested", listening)
    decided = decisions.decide(
        HeldItem.objects.all(), state=VerdictState.PAYABLE, by=admin, reason="An outage.", at=NOW
    )
    assert (decided, asked) == (4, [{"r_shared"}])
    assert {newest(each) for each in [*alone, shared]} == {PAYABLE}
    assert newest(other)[:3] == ("excluded", "one_per_request", "hedged_loser")


def test_a_release_does_not_outweigh_a_finding_of_fraud() -> None:
    node, admin = active_node(), UserFactory.create(role=Role.ADMIN)
    late = receipt(node, NOW - timedelta(hours=1), after=20 * 60)
    accrue_all(at=NOW)
    suspect(node)
    decisions.decide(
        HeldItem.objects.all(), state=VerdictState.PAYABLE, by=admin, reason="An outage.", at=NOW
    )
    assert newest(late)[:3] == ("held", "fraud", "fraud_suspected")
