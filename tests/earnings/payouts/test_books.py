"""After everything that can happen to payouts, the books agree with themselves."""

from datetime import timedelta

import pytest
from django.utils import timezone

from earnings.accrual.fsck import examine
from earnings.models import Item, Line, Payment
from earnings.payouts import export, mark_ready, return_payment, withdraw
from jatevo.accounts.models import Org, User
from tests.earnings.payouts.earners import wallet
from tests.earnings.rows import earn, finalise, make_rate
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db


def test_books_agree_after_marking_withdrawing_exporting_and_returning(org: Org, admin: User) -> None:
    make_rate(input_usd="1234.567891", output_usd="9876.543219")
    wallet(org)
    nodes = [NodeFactory.create(org=org, status="active", reputation=90) for _ in range(3)]
    start = timezone.now() - timedelta(days=40)
    for number in range(3):
        for node in nodes:
            earn(node, start + timedelta(days=number), confirmed=True, tokens_input=1_234_567 + number)
    days = sorted(set(Item.objects.values_list("day", flat=True)))
    for worked in days:
        finalise(worked)
    now = timezone.now()

    def mark() -> None:
        mark_ready(nodes=[each.pk for each in nodes], by=admin, at=now, reason="November")

    mark()
    payout = nodes[0].payouts.get()
    withdraw(payout=payout, by=admin, at=now, reason="not yet")
    export(by=admin, at=now, reason="November")
    mark()
    export(by=admin, at=now, reason="the rest")
    for payment in Payment.objects.all():
        return_payment(payment=payment, by=admin, at=timezone.now(), reason="bounced")
    mark()
    export(by=admin, at=timezone.now(), reason="again")
    assert Payment.objects.count() == 3 and Line.objects.count() == 9
    assert {each.key: each.findings for each in examine(full=True) if not each.ok} == {}
