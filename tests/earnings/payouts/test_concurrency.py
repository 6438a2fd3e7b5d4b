"""Double clicks and two admins at once: one effect, and a clear message for whoever was slower."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from earnings.models import ExportFile, Movement, NodeBalance, Payment, Payout, PayoutState
from earnings.payouts import (
    Conflict,
    confirm,
    export,
    mark_ready,
    preview,
    return_payment,
    withdraw,
)
from jatevo.accounts.models import Org, User
from jatevo.audit.models import AuditEvent
from tests.earnings.payouts.earners import earner, wallet

pytestmark = pytest.mark.django_db(transaction=True)


def together(*actions: Callable[[], Any]) -> list[Any]:
    """Runs all at the same moment, each on a connection of its own. Results, or the errors that they raised."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        try:
            start.wait()
            return action()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def mark(node: Any, by: User) -> Any:
    return mark_ready(nodes=[node.pk], by=by, at=timezone.now(), reason="November")


def the_other(results: list[Any], kind: type) -> Any:
    """The one result of that kind; the rest must be of another."""
    (found,) = [each for each in results if isinstance(each, kind)]
    return found


def test_two_admins_mark_a_node_at_once(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org)
    results = together(*(lambda by=by: mark(node, by) for by in (admin, second_admin) * 4))
    assert [len(each.payouts) for each in results].count(1) == 1
    refused = [each.refused[0].problem for each in results if not each.payouts]
    assert refused == ["A payout of this node already is ready."] * 7
    assert Payout.objects.count() == Movement.objects.filter(kind="ready").count() == 1
    assert NodeBalance.objects.get(node=node).ready == 50
    assert AuditEvent.objects.filter(verb="payout.mark_ready").count() == 1


def test_confirming_and_withdrawing_at_once(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org, "5000")
    (payout,) = mark(node, admin).payouts
    now = timezone.now()
    results = together(
        lambda: confirm(payout=payout, by=second_admin, at=now),
        lambda: confirm(payout=payout, by=second_admin, at=now),
        lambda: withdraw(payout=payout, by=admin, at=now, reason="changed my mind"),
    )
    payout.refresh_from_db()
    assert payout.state in (PayoutState.READY, PayoutState.WITHDRAWN)
    for each in results:
        assert isinstance(each, (Payout, Conflict)), each
    assert AuditEvent.objects.filter(verb="payout.confirm").count() <= 1
    balance = NodeBalance.objects.get(node=node)
    assert (balance.ready if payout.state == PayoutState.READY else balance.accrued) == 5000
    assert balance.ready + balance.accrued == 5000


def test_export_on_a_double_click_makes_one_file(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org)
    mark(node, admin)
    results = together(
        *(
            lambda by=by: export(by=by, at=timezone.now(), reason="November")
            for by in (admin, second_admin, admin)
        )
    )
    refused = [each for each in results if isinstance(each, Conflict)]
    assert len(refused) == 2 and "a moment ago" in str(refused[0])
    assert ExportFile.objects.get().number == 1
    assert NodeBalance.objects.get(node=node).exported == 50


def test_export_and_withdrawal_at_once_pay_or_give_back(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org)
    (payout,) = mark(node, admin).payouts
    now = timezone.now()
    results = together(
        lambda: export(by=admin, at=now, reason="November"),
        lambda: withdraw(payout=payout, by=second_admin, at=now, reason="wait"),
    )
    loser = the_other(results, Conflict)
    balance = NodeBalance.objects.get(node=node)
    if ExportFile.objects.exists():
        assert "exported" in str(loser) and balance.exported == 50
    else:
        assert "No payout is ready" in str(loser) and balance.accrued == 50


def test_payment_is_returned_once(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    node = earner(org)
    mark(node, admin)
    export(by=admin, at=timezone.now(), reason="November")
    payment = Payment.objects.get()
    results = together(
        *(
            lambda by=by: return_payment(payment=payment, by=by, at=timezone.now(), reason="bounced")
            for by in (admin, second_admin)
        )
    )
    assert "already returned" in str(the_other(results, Conflict))
    assert NodeBalance.objects.get(node=node).accrued == 50


def test_nodes_marked_in_opposite_order_do_not_deadlock(org: Org, admin: User, second_admin: User) -> None:
    wallet(org)
    ids = [earner(org).pk for _ in range(6)]
    results = together(
        *(
            lambda order=order, by=by: mark_ready(nodes=order, by=by, at=timezone.now(), reason="November")
            for order, by in ((ids, admin), (ids[::-1], second_admin)) * 2
        )
    )
    assert sum(len(each.payouts) for each in results) == 6
    assert all(each.open_payout_id for each in (p.candidate for p in preview(nodes=None, at=timezone.now())))
