"""Receipts that no rate prices: they wait, are in nobody's way, and are looked at again when there is a new rate."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from earnings.accrual import accrue_all
from earnings.accrual.itemise import itemise, make_work_tables
from earnings.accrual.locking import try_lock
from earnings.accrual.run import judged_until
from earnings.models import Line
from receipts.models import UnjudgedReceipt
from tests.earnings.accrual.test_accrue import NOW, PAYABLE, active_node, newest, receipt
from tests.earnings.rows import make_rate

pytestmark = pytest.mark.django_db


def test_a_receipt_without_a_rate_waits() -> None:
    node = active_node()
    receipt(node, model_id="other")
    make_rate("other", holds_from=NOW)
    assert accrue_all(at=NOW).items == 0
    assert UnjudgedReceipt.objects.count() == 1
    make_rate("other", holds_from=NOW - timedelta(days=1))
    assert accrue_all(at=NOW).items == 1


def test_receipts_without_a_rate_are_not_looked_at_again_until_there_is_one() -> None:
    """There may be any number of them, and each page of earnings asks for the oldest receipt that waits."""
    make_rate("llama3.1-8b")
    node = active_node()
    for _ in range(3):
        receipt(node, model_id="nobody-priced-it")
    priced = receipt(node)
    assert accrue_all(at=NOW).items == 1
    looked_at = itemise(after=0, until=NOW, limit=100)
    assert (looked_at.receipts, judged_until(at=NOW)) == (0, NOW)
    with CaptureQueriesContext(connection) as asked:
        judged_until(at=NOW)
    explained = " ".join(asked[0]["sql"].split())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {explained}")
        assert "unjudged_priceable" in str(cursor.fetchall())
        # as if the rate had been there before
        cursor.execute("ALTER TABLE earnings_rate DISABLE TRIGGER rate_dated")
    make_rate("nobody-priced-it")
    assert accrue_all(at=NOW).items == 3
    assert newest(priced) == PAYABLE


@pytest.mark.django_db(transaction=True)
def test_new_rate_waits_for_the_accrual_that_cannot_see_it() -> None:
    """Else that accrual would note receipts as unpriced that are priced by then."""
    receipt(active_node())
    make_work_tables()

    def set_rate() -> None:
        try:
            make_rate()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as another:
        with transaction.atomic():
            assert try_lock()
            assert itemise(after=0, until=NOW, limit=100).itemised == 0
            setting = another.submit(set_rate)
            _wait_for_a_waiter()
        setting.result(30)
    assert not UnjudgedReceipt.objects.get().unpriced


def _wait_for_a_waiter() -> None:
    """Until another connection waits for a lock of this one."""
    until = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            if cursor.fetchall() != [(0,)]:
                return
    raise AssertionError("nobody waits")


def test_a_receipt_without_a_rate_holds_up_nobodys_days() -> None:
    """Else any node could keep all others from their pay, with the name of a model that nobody has priced."""
    make_rate("llama3.1-8b")
    ended = NOW - timedelta(days=9)
    receipt(active_node("rival"), ended, model_id="nobody-priced-it")
    honest = receipt(active_node("honest"), ended, model_id="Llama3.1-8B:latest")
    assert accrue_all(at=NOW).days_closed == 1
    assert newest(honest) == PAYABLE
    assert Line.objects.get().final_at == NOW
    assert UnjudgedReceipt.objects.count() == 1
