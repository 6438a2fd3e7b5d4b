"""Accrual through its front: receipts, dispatches, transitions and findings in, items, verdicts, lines and ledger out."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from earnings.accrual import accrue_all, decide
from earnings.models import (
    FinalDay,
    HeldItem,
    Item,
    Line,
    LineBalance,
    ModelLimit,
    Movement,
    Verdict,
    VerdictState,
)
from jatevo.accounts.models import Role
from nodes.models import FindingState, FraudCause, FraudFinding, Node, NodeOffer, NodeTransition, SweeperClock
from receipts.models import Dispatch, DispatchWinner, Gateway, Receipt, UnjudgedReceipt
from tests.earnings.rows import make_rate
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory, UserFactory

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def active_node(
    node_id: str = "macbook-001", since: datetime = NOW - timedelta(days=40), **changes: Any
) -> Node:
    node: Node = NodeFactory.create(id=node_id, status="active", **changes)
    Node.objects.filter(pk=node.pk).update(created_at=since)
    node.refresh_from_db()
    passes(node, "active", since)
    return node


def passes(node: Node, to: str, at: datetime, reason: str = "probe_passed", **evidence: str) -> None:
    NodeTransition.objects.create(
        node=node, at=at, from_status="probing", to_status=to, reason=reason, actor_kind="system",
        actor_id="console", evidence=evidence,
    )  # fmt: skip


def receipt(
    node: Node,
    ended: datetime = NOW - timedelta(minutes=5),
    *,
    after: float = 2,
    seconds: int = 10,
    **changes: Any,
) -> Receipt:
    return ReceiptFactory(
        node=node, at=ended + timedelta(seconds=after), ts_start=int(ended.timestamp()) - seconds,
        ts_end=int(ended.timestamp()), **{"tokens_input": 1000, "tokens_output": 500, "cache_hit": False, **changes},
    )  # fmt: skip


def dispatch(
    request_id: str, node_id: str, at: datetime = NOW - timedelta(minutes=5, seconds=11), **changes: Any
) -> Dispatch:
    gateway, _ = Gateway.objects.get_or_create(id="gateway-1")
    return Dispatch.objects.create(
        gateway=gateway, request_id=request_id, node_id=node_id, ts=at, received_at=at,
        **{"model": "llama3.1-8b", "model_id": "llama3.1-8b", **changes},
    )  # fmt: skip


def newest(of: Receipt) -> tuple[str, str, str, bool]:
    found = Verdict.objects.filter(receipt_id=of.id).order_by("-id")[0]
    return found.state, found.rule, found.cause, found.confirmed


PAYABLE = ("payable", "", "", False)
CONFIRMED = ("payable", "", "", True)


@pytest.fixture(autouse=True)
def default_rate() -> None:
    make_rate(input_usd="0.1", output_usd="0.4", cache_hit_discount="0.5")


def test_a_plain_receipt_becomes_an_item_and_a_line() -> None:
    one = receipt(active_node())
    assert accrue_all(at=NOW).items == 1
    item = Item.objects.get()
    assert (item.receipt_id, item.fee_usd, item.day) == (one.id, Decimal("0.0003"), NOW.date())
    assert newest(one) == PAYABLE
    line = Line.objects.get()
    assert (line.receipts, line.payable_receipts, line.payable_usd, line.confirmed_usd) == (
        1,
        1,
        Decimal("0.0003"),
        0,
    )
    assert (line.tokens_input, line.tokens_output) == (1000, 500)
    assert not UnjudgedReceipt.objects.exists()
    assert accrue_all(at=NOW).verdicts == 0


def test_a_cache_hit_costs_less_for_its_input() -> None:
    receipt(active_node(), cache_hit=True)
    accrue_all(at=NOW)
    assert Item.objects.get().fee_usd == Decimal("0.00025")


def test_a_day_waits_for_receipts_that_are_still_to_be_judged() -> None:
    SweeperClock.objects.create(pk=1, last_run_at=NOW - timedelta(days=9), counting_from=NOW)
    ended = NOW - timedelta(days=9, hours=1)
    receipt(active_node(), ended)
    waiting = receipt(active_node("other"), ended, after=3 * 3600)
    assert accrue_all(at=NOW).days_closed == 0
    SweeperClock.objects.update(last_run_at=NOW)
    assert accrue_all(at=NOW).days_closed == 1
    assert newest(waiting)[:3] == ("held", "late", "late")


def test_the_rate_in_force_at_the_end_counts() -> None:
    make_rate("llama3.1-8b", holds_from=NOW - timedelta(hours=1), input_usd="1", output_usd="2")
    node = active_node()
    old, new = receipt(node, NOW - timedelta(hours=2)), receipt(node, NOW - timedelta(minutes=30))
    accrue_all(at=NOW)
    fees = dict(Item.objects.values_list("receipt_id", "fee_usd"))
    assert fees == {old.id: Decimal("0.0003"), new.id: Decimal("0.002")}
    assert Line.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"outcome": "error"}, ("excluded", "outcome", "failed")),
        ({"outcome": "cancelled"}, ("payable", "", "")),
        ({"after": 16 * 60}, ("held", "late", "late")),
        ({"after": 15 * 60}, ("payable", "", "")),
        ({"tokens_output": 100_000_000}, ("held", "implausible", "speed")),
        ({"tokens_output": 11_000}, ("payable", "", "")),
        ({"tokens_output": 11_001}, ("held", "implausible", "speed")),
        ({"tokens_input": 2_000_001}, ("held", "implausible", "context")),
        ({"seconds": 86_401}, ("held", "implausible", "duration")),
        ({"seconds": 0, "tokens_output": 8_001}, ("held", "implausible", "speed")),
    ],
)
def test_what_a_receipt_says_decides(changes: dict[str, Any], verdict: tuple[str, str, str]) -> None:
    one = receipt(active_node(), NOW - timedelta(hours=1), **changes)
    accrue_all(at=NOW)
    assert newest(one)[:3] == verdict


def test_work_from_before_the_node_existed_is_not_paid() -> None:
    node = active_node(since=NOW - timedelta(days=1))
    one = receipt(node, NOW - timedelta(days=2), after=3 * 86_400 // 2)
    accrue_all(at=NOW)
    assert newest(one)[:3] in {
        ("excluded", "in_service", "not_in_service"),
        ("excluded", "lifetime", "before_node"),
    }


def test_work_after_the_nodes_quarantine_is_not_paid() -> None:
    node = active_node()
    passes(node, "quarantine", NOW - timedelta(minutes=30), reason="audit_failed")
    in_time, too_late = receipt(node, NOW - timedelta(minutes=25)), receipt(node, NOW - timedelta(minutes=24))
    accrue_all(at=NOW)
    assert newest(in_time) == PAYABLE
    assert newest(too_late)[:3] == ("excluded", "in_service", "not_in_service")


def test_work_handed_in_after_an_outage_is_paid() -> None:
    node = active_node()
    ended = NOW - timedelta(hours=5)
    heard = ended + timedelta(minutes=1)
    passes(node, "offline", heard + timedelta(minutes=5), "no_heartbeat", last_heartbeat_at=str(heard))
    passes(node, "probing", NOW - timedelta(minutes=10), "first_heartbeat")
    passes(node, "active", NOW - timedelta(minutes=9))
    one = receipt(node, ended, after=5 * 3600 - 6 * 60)
    accrue_all(at=NOW)
    assert newest(one) == PAYABLE
    assert Item.objects.get().outage_seconds == 5 * 3600 - 10 * 60


def test_while_only_silence_made_it_offline_a_dispatch_counts() -> None:
    node = active_node()
    passes(node, "offline", NOW - timedelta(hours=1), "no_heartbeat", last_heartbeat_at="None")
    passes(node, "probing", NOW - timedelta(minutes=40), "first_heartbeat")
    ended = NOW - timedelta(minutes=30)
    known, unknown = receipt(node, ended), receipt(node, ended)
    dispatch(known.request_id, node.pk, ended - timedelta(seconds=11))
    accrue_all(at=NOW)
    assert newest(known) == CONFIRMED
    assert newest(unknown)[:2] == ("excluded", "in_service")


def test_a_dispatch_that_comes_later_confirms() -> None:
    node = active_node()
    one = receipt(node)
    accrue_all(at=NOW)
    assert newest(one) == PAYABLE
    dispatch(one.request_id, node.pk)
    assert accrue_all(at=NOW).verdicts == 1
    assert newest(one) == CONFIRMED
    line = Line.objects.get()
    assert (line.payable_receipts, line.confirmed_usd) == (1, line.payable_usd)


def test_a_dispatch_to_another_node_holds_the_thiefs_receipt_until_it_expires() -> None:
    thief = active_node("thief")
    one = receipt(thief)
    accrue_all(at=NOW)
    dispatch(one.request_id, "victim")
    accrue_all(at=NOW)
    assert newest(one)[:3] == ("held", "dispatch", "contradicts")
    assert HeldItem.objects.get().rule == "dispatch"
    accrue_all(at=NOW + timedelta(days=7))
    assert newest(one)[:3] == ("excluded", "dispatch", "contradicts")
    assert not HeldItem.objects.exists()
    line = Line.objects.get()
    assert (line.payable_usd, line.held_usd, line.excluded_receipts) == (0, 0, 1)


def test_a_hedged_request_is_paid_once_to_the_winner() -> None:
    org = OrgFactory.create()
    first, second = active_node("first", org=org), active_node("second", org=org)
    loser, winner = (
        receipt(first, request_id="r_1", hedged=True),
        receipt(second, request_id="r_1", hedged=True),
    )
    accrue_all(at=NOW)
    assert newest(loser) == PAYABLE
    assert newest(winner)[:3] == ("excluded", "one_per_request", "hedged_loser")
    for node in (first, second):
        dispatch("r_1", node.pk, hedged=True)
    DispatchWinner.objects.create(request_id="r_1", node_id="second", gateway_id="gateway-1", received_at=NOW)
    accrue_all(at=NOW)
    assert newest(loser)[:3] == ("excluded", "one_per_request", "hedged_loser")
    assert newest(winner) == CONFIRMED


def test_a_dispute_between_organisations_is_decided_by_an_admin() -> None:
    one, other = (
        receipt(active_node("one"), request_id="r_1"),
        receipt(active_node("other"), request_id="r_1"),
    )
    accrue_all(at=NOW)
    assert newest(one)[:3] == newest(other)[:3] == ("held", "one_per_request", "disputed")
    admin = UserFactory.create(role=Role.ADMIN)
    held = HeldItem.objects.filter(receipt_id=one.id)
    assert (
        decide(held, state=VerdictState.PAYABLE, by=admin, reason="The gateway's logs say so.", at=NOW) == 1
    )
    assert newest(one)[:3] == ("payable", "", "")
    assert newest(other)[:2] == ("excluded", "one_per_request")
    assert not HeldItem.objects.exists()


def test_more_requests_at_once_than_the_node_serves_are_held() -> None:
    node = active_node(concurrency=2)
    made = [receipt(node, seconds=60) for _ in range(3)]
    later = receipt(node, NOW - timedelta(minutes=4), seconds=60)
    accrue_all(at=NOW)
    assert [newest(one)[0] for one in made] == ["payable", "payable", "held"]
    assert newest(made[2])[:3] == ("held", "implausible", "concurrency")
    assert newest(later) == PAYABLE


def test_short_requests_of_one_second_share_its_tokens() -> None:
    node = active_node(concurrency=1)
    ModelLimit.objects.create(
        model="llama3.1-8b",
        holds_from=NOW - timedelta(days=30),
        output_per_second=100,
        context_tokens=9000,
        created_by="test",
    )
    made = [receipt(node, seconds=0, tokens_output=100) for _ in range(3)]
    accrue_all(at=NOW)
    assert [newest(one)[2] for one in made] == ["", "", "burst"]


def test_a_model_that_the_node_did_not_offer_is_held() -> None:
    node = active_node()
    NodeOffer.objects.all().delete()
    NodeOffer.objects.create(node=node, model="qwen3", offered_from=node.created_at)
    one, other = receipt(node), receipt(node, model_id="Qwen3:latest")
    accrue_all(at=NOW)
    assert newest(one)[:3] == ("held", "implausible", "model")
    assert newest(other) == PAYABLE


def test_a_finding_of_fraud_holds_and_a_clear_releases() -> None:
    node = active_node()
    before, after = receipt(node, NOW - timedelta(hours=3)), receipt(node)
    accrue_all(at=NOW)
    finding = FraudFinding.objects.create(
        node=node, cause=FraudCause.ADMIN, opened_at=NOW - timedelta(hours=1), opened_by="a@example.org",
        doubtful_from=NOW - timedelta(hours=1),
    )  # fmt: skip
    accrue_all(at=NOW)
    assert (newest(before), newest(after)[:3]) == (PAYABLE, ("held", "fraud", "fraud_suspected"))
    FraudFinding.objects.filter(pk=finding.pk).update(
        state=FindingState.CLEARED, decided_at=NOW, decided_by="a@example.org", decision="A bug of the agent."
    )
    accrue_all(at=NOW)
    assert newest(after) == PAYABLE


def test_a_day_is_final_after_eight_days_and_later_verdicts_are_movements() -> None:
    node = active_node()
    ended = NOW - timedelta(days=9)
    good, late = receipt(node, ended), receipt(node, ended, after=20 * 60)
    accrue_all(at=ended + timedelta(hours=1))
    assert not Movement.objects.exists()
    assert accrue_all(at=NOW).days_closed == 1
    assert FinalDay.objects.get().day == ended.date()
    line = Line.objects.get()
    balance = LineBalance.objects.get(line=line)
    assert (
        (balance.accrued, balance.held)
        == (line.payable_usd, line.held_usd)
        == (Decimal("0.0003"), Decimal("0.0003"))
    )
    admin = UserFactory.create(role=Role.ADMIN)
    decide(HeldItem.objects.all(), state=VerdictState.EXCLUDED, by=admin, reason="No proof.", at=NOW)
    balance.refresh_from_db()
    line.refresh_from_db()
    assert (balance.accrued, balance.held) == (line.payable_usd, line.held_usd) == (Decimal("0.0003"), 0)
    last = Movement.objects.latest("id")
    assert (last.kind, last.from_account, last.to_account, last.actor) == (
        "exclude",
        "held",
        "network",
        admin.email,
    )
    assert newest(good) == PAYABLE
    assert newest(late)[:3] == ("excluded", "late", "late")
    assert Verdict.objects.filter(receipt_id=late.id).count() == 2  # held, and the decision once


def test_fraud_confirmed_after_the_export_leaves_a_negative_balance() -> None:
    node = active_node()
    ended = NOW - timedelta(days=9)
    receipt(node, ended)
    accrue_all(at=NOW)
    line = Line.objects.get()
    move = {
        "at": NOW,
        "line": line,
        "node": node,
        "org": node.org,
        "actor": "console",
        "amount_usd": line.payable_usd,
    }
    Movement.objects.create(kind="ready", from_account="accrued", to_account="ready", **move)
    Movement.objects.create(kind="export", from_account="ready", to_account="exported", **move)
    FraudFinding.objects.create(
        node=node, cause=FraudCause.ADMIN, opened_at=NOW, opened_by="a@example.org", doubtful_from=ended - timedelta(days=1),
        state=FindingState.CONFIRMED, decided_at=NOW, decided_by="a@example.org", decision="It was.",
    )  # fmt: skip
    accrue_all(at=NOW)
    balance = LineBalance.objects.get()
    assert (balance.accrued, balance.exported) == (-line.payable_usd, line.payable_usd)


def test_what_was_ready_goes_back_before_a_verdict_takes_it() -> None:
    node = active_node()
    ended = NOW - timedelta(days=9)
    one, two = receipt(node, ended), receipt(node, ended)
    accrue_all(at=NOW)
    line = Line.objects.get()
    Movement.objects.create(
        at=NOW, kind="ready", from_account="accrued", to_account="ready", line=line, node=node, org=node.org, actor="console",
        amount_usd=line.payable_usd,
    )  # fmt: skip
    FraudFinding.objects.create(
        node=node, cause=FraudCause.ADMIN, opened_at=timezone.now(), opened_by="a@example.org",
        doubtful_from=ended - timedelta(days=1),
    )  # fmt: skip
    accrue_all(at=NOW)
    balance = LineBalance.objects.get()
    assert (balance.ready, balance.accrued, balance.held) == (0, 0, Decimal("0.0006"))
    assert newest(one)[0] == newest(two)[0] == "held"


def test_a_run_that_misses_the_lock_says_that_work_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    node = active_node()
    one = receipt(node)
    accrue_all(at=NOW)
    dispatch(one.request_id, node.pk)
    answers = iter([True, True, False])
    monkeypatch.setattr("earnings.accrual.run.try_lock", lambda: next(answers))
    assert accrue_all(at=NOW).left
    monkeypatch.undo()
    assert not accrue_all(at=NOW).left
    assert newest(one) == CONFIRMED
