"""What is judged again long after a request, and while another accrual is under way."""

from datetime import timedelta

import pytest
from django.db import connection

from earnings.accrual import accrue, accrue_all, run
from earnings.models import FinalDay, JudgedCoverage, Movement
from jatevo.metrics import retention_policy
from nodes.models import FindingState, FraudCause, FraudFinding, Node
from receipts.models import UnjudgedReceipt
from tests.earnings.accrual.test_accrue import CONFIRMED, NOW, active_node, dispatch, newest, receipt
from tests.earnings.rows import make_rate

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
