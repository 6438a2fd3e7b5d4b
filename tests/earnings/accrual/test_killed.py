"""An accrual that is killed, that has company, or during which admins act, leaves what an undisturbed one leaves.

`tests/chaos/test_killed_accrual.py` does the same at many more moments.
"""

from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from earnings.accrual import accrue_all, decide
from earnings.accrual.fsck import examine
from earnings.models import HeldItem, Item, Rate, Verdict, VerdictState
from jatevo.accounts.models import Role
from tests.database import AS_MIGRATED, copy_database
from tests.earnings.accrual import killing
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def accrued(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> float:
    """Something to accrue in a database of its own, and the same accrued without a break, in so many seconds."""
    with django_db_blocker.unblock():
        killing.prepare(receipts=4000)
        copy_database(killing.FRESH, killing.PREPARED)
        seconds = killing.accrue_fresh()
        copy_database(AS_MIGRATED, connection.settings_dict["NAME"])
    return seconds


@pytest.fixture
def prepared(accrued: float, transactional_db: None) -> float:
    """Something to accrue, of which an accrual without a break takes so many seconds."""
    copy_database(killing.PREPARED, connection.settings_dict["NAME"])
    return accrued


def test_a_killed_accrual_leaves_what_an_undisturbed_one_leaves(prepared: float) -> None:
    assert killing.kill_and_restart(Random(1), kills=3, within=prepared / 4) > 0
    assert killing.left_behind() == killing.left_behind(killing.FRESH)


def test_two_accruals_at_once_leave_what_one_leaves(prepared: float) -> None:
    both = [killing.start(), killing.start()]
    for each in both:
        killing.finish(each)
    assert killing.left_behind() == killing.left_behind(killing.FRESH)


def test_a_rate_that_is_added_meanwhile_prices_nothing_of_the_past(prepared: float) -> None:
    accrual = killing.start()
    Rate.objects.create(
        model="qwen3", holds_from=timezone.now() + timedelta(minutes=11), input_usd=Decimal(9999),
        output_usd=Decimal(9999), cache_hit_discount=0, created_by="test",
    )  # fmt: skip
    assert accrual.poll() is None
    killing.finish(accrual)
    assert killing.left_behind() == killing.left_behind(killing.FRESH)


def test_a_decision_meanwhile_stands(prepared: float) -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    accrual = killing.start()
    decided: set[int] = set()
    while accrual.poll() is None:
        some = list(HeldItem.objects.exclude(rule="fraud").values_list("pk", flat=True)[:5])
        chosen = HeldItem.objects.filter(pk__in=some).exclude(rule="fraud")
        decide(chosen, state=VerdictState.EXCLUDED, by=admin, reason="Looked into.", at=killing.AT)
        decided.update(Verdict.objects.filter(actor=admin.email).values_list("receipt_id", flat=True))
    killing.finish(accrual)
    accrue_all(at=killing.AT)
    assert decided
    newest = (
        Verdict.objects.filter(receipt_id__in=decided).order_by("receipt_id", "-id").distinct("receipt_id")
    )
    assert {(row.state, row.actor) for row in newest} == {("excluded", admin.email)}
    assert not HeldItem.objects.filter(pk__in=decided).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM receipts_receipt WHERE accepted_at <= %s", [killing.AT])
        assert cursor.fetchone() == (Item.objects.count(),)
    assert [result.key for result in examine(full=True) if not result.ok] == []
