"""Marking ready: who is eligible, what is moved, and when a second admin must agree."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from earnings.models import Movement, NodeBalance, Payout, PayoutState, Policy
from earnings.payouts import (
    Conflict,
    NotEligible,
    ReasonMissing,
    SecondPersonNeeded,
    confirm,
    export,
    judge_all,
    mark_ready,
    preview,
    return_payment,
    withdraw,
)
from earnings.payouts.paid_alone import paid_alone
from earnings.rules.second_person import ALONE_DAYS
from jatevo.accounts.models import Org, User
from jatevo.audit.models import AuditEvent
from nodes.actions import suspect
from tests.earnings.payouts.earners import ADDRESSES, earner, final_line, owes, wallet
from tests.earnings.rows import move

pytestmark = pytest.mark.django_db


def mark(*nodes: Any, by: User, **more: Any) -> Any:
    return mark_ready(nodes=[each.pk for each in nodes], by=by, at=timezone.now(), reason="November", **more)


def balance(node: Any) -> NodeBalance:
    return NodeBalance.objects.get(node=node)


def policy(**changes: Any) -> Policy:
    values = {"confirm_unconfirmed": True, "confirm_overrides": True, **changes}
    return Policy.objects.create(holds_from=timezone.now() - timedelta(hours=1), created_by="test", **values)


def test_what_final_lines_have_accrued_becomes_ready(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "50.0000000000000001")
    final_line(node, "3")
    marked = mark(node, by=admin)
    (payout,) = marked.payouts
    assert payout.amount_usd == Decimal("53.0000000000000001")
    assert (payout.state, payout.reason, payout.marked_by) == (PayoutState.READY, "November", admin.email)
    assert (balance(node).accrued, balance(node).ready) == (0, payout.amount_usd)
    assert set(Movement.objects.filter(kind="ready").values_list("payout_id", "actor")) == {
        (payout.pk, admin.email)
    }
    event = AuditEvent.objects.get(verb="payout.mark_ready")
    assert (event.subject_id, event.reason, event.org_id) == (str(payout.pk), "November", org.pk)


def test_amount_must_be_above_nothing_whatever_is_overridden(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "0.001")
    assert mark(node, by=admin, override=["threshold", "wallet", "fraud"]).payouts == ()
    assert not Payout.objects.exists()


def test_lines_that_owe_take_part_in_the_other_direction(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "50")
    owes(node, "20")
    (payout,) = mark(node, by=admin).payouts
    assert payout.amount_usd == 30
    assert (balance(node).accrued, balance(node).ready) == (0, 30)


def test_node_that_owes_more_than_it_earned_is_not_paid(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "15")
    owes(node, "20")
    (refused,) = mark(node, by=admin, override=["threshold"]).refused
    assert refused.amount_usd == -5 and "more was paid than earned" in refused.problem


def test_running_lines_and_hold_days_wait(org: Org, admin: User) -> None:
    policy(hold_days=3)
    wallet(org)
    node = earner(org, "20")  # final since yesterday
    final_line(node, "30", final_at=timezone.now() - timedelta(days=4))
    (payout,) = mark(node, by=admin).payouts
    assert payout.amount_usd == 30
    assert balance(node).accrued == 20


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda org, node, admin: node, "wallet"),
        (
            lambda org, node, admin: wallet(org, payouts_from=timezone.now() + timedelta(hours=1)),
            "wallet_wait",
        ),
        (
            lambda org, node, admin: (
                wallet(org),
                suspect(node=node, by=admin, reason="forged", at=timezone.now()),
            ),
            "fraud",
        ),
    ],
)
def test_what_nobody_may_override(org: Org, admin: User, spoil: Any, rule: str) -> None:
    node = earner(org)
    spoil(org, node, admin)
    (refused,) = mark(node, by=admin, override=[rule]).refused
    assert rule in [each.rule for each in refused.failed]
    assert balance(node).ready == 0


def test_wallet_of_the_node_decides_not_that_of_the_organisation(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org)
    wallet(org, node=node, address=ADDRESSES[1], payouts_from=timezone.now() + timedelta(hours=5))
    (refused,) = mark(node, by=admin).refused
    assert [each.rule for each in refused.failed] == ["wallet_wait"]


@pytest.mark.parametrize(("amount", "reputation", "rule"), [("5", 90, "threshold"), ("50", 10, "reputation")])
def test_override_needs_a_second_admin(
    org: Org, admin: User, second_admin: User, amount: str, reputation: int, rule: str
) -> None:
    wallet(org)
    node = earner(org, amount, reputation=reputation)
    assert not mark(node, by=admin).payouts
    (payout,) = mark(node, by=admin, override=[rule]).payouts
    assert (payout.state, payout.overridden) == ("proposed", [rule])
    assert len(payout.second_why) == 1 and "overridden" in payout.second_why[0]
    confirmed = confirm(payout=payout, by=second_admin, at=timezone.now())
    assert (confirmed.state, confirmed.confirmed_by) == ("ready", second_admin.email)


def test_second_admin_is_another_person_even_under_another_address(
    org: Org, admin: User, second_admin: User
) -> None:
    wallet(org)
    (payout,) = mark(earner(org, confirmed=False), by=admin).payouts
    assert (payout.state, payout.unconfirmed_usd) == ("proposed", 50)
    assert payout.second_why == ["No gateway confirmed $50.00 of $50.00."]
    admin.email = "renamed@example.org"
    admin.save()
    with pytest.raises(SecondPersonNeeded):
        confirm(payout=payout, by=admin, at=timezone.now())
    assert confirm(payout=payout, by=second_admin, at=timezone.now()).state == "ready"


def test_large_amount_is_not_hidden_by_splitting_it_over_nodes(
    org: Org, admin: User, second_admin: User
) -> None:
    wallet(org)
    first = mark(earner(org, "600"), by=admin).payouts[0]
    second = mark(earner(org, "600"), by=admin).payouts[0]
    assert (first.state, second.state) == ("ready", "proposed")
    assert "come to $1,200.00" in second.second_why[0]


def test_large_amount_is_not_hidden_by_splitting_it_over_exports(
    org: Org, admin: User, second_admin: User
) -> None:
    wallet(org)
    node = earner(org, "600")
    mark(node, by=admin)
    now = timezone.now()
    exported = export(by=admin, at=now, reason="November")
    assert exported.file is not None
    final_line(node, "600")
    (judged,) = judge_all(at=now)
    assert (judged.second_needed, judged.wallet_usd) == (True, 1200)
    (payout,) = mark(node, by=admin).payouts
    assert payout.state == "proposed"
    assert "no second admin confirmed, come to $1,200.00" in payout.second_why[0]


def test_what_a_second_admin_confirmed_or_came_back_or_is_long_ago_does_not_count_again(
    org: Org, admin: User, second_admin: User
) -> None:
    wallet(org)
    node = earner(org, "5000")
    now = timezone.now()
    confirm(payout=mark(node, by=admin).payouts[0], by=second_admin, at=now)
    export(by=admin, at=now, reason="November")
    assert paid_alone(at=now) == {}
    final_line(node, "600")
    assert mark(node, by=admin).payouts[0].state == "ready"
    file = export(by=admin, at=now, reason="again").file
    assert file is not None
    payment = file.payments.get()
    assert list(paid_alone(at=now).values()) == [600]
    assert paid_alone(at=now + timedelta(days=ALONE_DAYS)) == {}
    return_payment(payment=payment, by=admin, at=now, reason="account closed")
    assert paid_alone(at=now) == {}


def test_network_with_one_admin_works_and_says_that_nobody_confirmed(org: Org, admin: User) -> None:
    wallet(org)
    (payout,) = mark(earner(org, "5000", confirmed=False), by=admin).payouts
    assert (payout.state, len(payout.second_why)) == ("ready", 2) and payout.confirmed_by_nobody
    assert (payout.confirmed_by, payout.confirmed_at) == ("", None)


def test_confirming_judges_again(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org, "5000")
    (payout,) = mark(node, by=admin).payouts
    suspect(node=node, by=admin, reason="forged", at=timezone.now())
    with pytest.raises(NotEligible, match="finding of fraud"):
        confirm(payout=payout, by=second_admin, at=timezone.now())
    payout.refresh_from_db()
    assert payout.state == "proposed"


def test_debt_that_arose_since_is_set_off_when_confirming(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org, "5000")
    (payout,) = mark(node, by=admin).payouts
    owes(node, "100")
    assert confirm(payout=payout, by=second_admin, at=timezone.now()).amount_usd == 4900
    assert (balance(node).accrued, balance(node).ready) == (0, 4900)


def test_withdrawing_makes_the_amount_available_again(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org)
    (payout,) = mark(node, by=admin).payouts
    with pytest.raises(ReasonMissing):
        withdraw(payout=payout, by=admin, at=timezone.now(), reason=" ")
    withdraw(payout=payout, by=admin, at=timezone.now(), reason="wrong month")
    assert (balance(node).accrued, balance(node).ready) == (50, 0)
    with pytest.raises(Conflict, match="withdrawn"):
        withdraw(payout=payout, by=admin, at=timezone.now(), reason="again")
    assert mark(node, by=admin).payouts[0].amount_usd == 50


def test_node_in_an_open_payout_is_not_marked_twice(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org)
    mark(node, by=admin)
    final_line(node, "70")
    (refused,) = mark(node, by=admin).refused
    assert refused.problem == "A payout of this node already is ready."
    assert balance(node).accrued == 70


def test_refused_node_does_not_stop_the_others(org: Org, rival: Org, admin: User) -> None:
    wallet(org)
    good, bad = earner(org), earner(rival)
    marked = mark(good, bad, by=admin)
    assert [each.node_id for each in marked.payouts] == [good.pk]
    assert [each.candidate.node_id for each in marked.refused] == [bad.pk]


def test_preview_changes_nothing_and_lists_who_has_a_balance(org: Org, admin: User) -> None:
    wallet(org)
    node, small = earner(org), earner(org, "1")
    found = {each.candidate.node_id: each for each in preview(nodes=None, at=timezone.now())}
    assert found[node.pk].possible and not found[small.pk].possible
    assert not Payout.objects.exists() and not Movement.objects.filter(kind="ready").exists()


def test_part_of_an_amount_that_was_taken_out_of_ready_is_not_paid(org: Org, admin: User) -> None:
    """What the accrual does when an item of a ready line is excluded."""
    wallet(org)
    node = earner(org, "50")
    line = final_line(node, "10")
    (payout,) = mark(node, by=admin).payouts
    now = timezone.now()
    move(line, "unready", "ready", "accrued", "10", at=now)
    move(line, "exclude", "accrued", "network", "10", at=now)
    withdraw(payout=payout, by=admin, at=now, reason="look again")
    assert (balance(node).accrued, balance(node).ready) == (50, 0)
