"""Monthly partitions: made ahead, and nothing lost when they come late."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection

from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM
from receipts.models import Receipt
from receipts.models.receipt import _IDENTIFIED
from receipts.partitions import Month, drop_month, ensure_partitions, months
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db


def partition_of(receipt: Receipt) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM receipts_receipt WHERE id = %s", [receipt.id])
        return str(cursor.fetchone()[0])


def test_this_month_and_three_more_exist_and_a_second_run_makes_none() -> None:
    at = datetime(2031, 11, 30, 23, 59, tzinfo=UTC)
    assert ensure_partitions(at=at) == [
        "receipts_receipt_2031_11",
        "receipts_receipt_2031_12",
        "receipts_receipt_2032_01",
        "receipts_receipt_2032_02",
    ]
    assert ensure_partitions(at=at) == []


def test_receipt_that_came_before_its_partition_moves_into_it() -> None:
    at = datetime(2032, 5, 31, 23, 59, 59, tzinfo=UTC)
    receipt = ReceiptFactory(node=NodeFactory.create(), at=at)
    assert partition_of(receipt) == "receipts_receipt_default"
    ensure_partitions(at=at)
    assert partition_of(receipt) == "receipts_receipt_2032_05"
    assert Receipt.objects.get().request_id == receipt.request_id


def test_receipts_of_today_have_a_partition_of_their_own() -> None:
    assert partition_of(ReceiptFactory(node=NodeFactory.create())) != "receipts_receipt_default"


def test_months_are_those_with_a_partition_and_the_default_one_is_none() -> None:
    ensure_partitions(at=datetime(2031, 12, 1, tzinfo=UTC))
    found = months()
    assert found == sorted(found)
    assert Month(datetime(2031, 12, 1, tzinfo=UTC)) in found
    assert Month(datetime(2032, 1, 1, tzinfo=UTC)).ends_at == datetime(2032, 2, 1, tzinfo=UTC)
    assert {month.name for month in found} >= {"receipts_receipt_2031_12", "receipts_receipt_2032_03"}
    assert "receipts_receipt_default" not in {month.name for month in found}


@pytest.mark.django_db(transaction=True)
def test_a_month_that_somebody_reads_is_left_and_goes_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receipts.partitions.LOCK_TIMEOUT", "50ms")
    month = Month(datetime(2001, 1, 1, tzinfo=UTC))
    ensure_partitions(at=month.starts_at)
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as reader:
        reader.execute("SELECT count(*) FROM receipts_receipt")
        with pytest.raises(OperationalError, match="lock timeout"):
            drop_month(month, by=SYSTEM)
    assert month in months()
    assert not AuditEvent.objects.filter(subject_id=month.name).exists()
    while months()[0].starts_at.year == 2001:  # and the three after it, which other tests do not expect
        assert drop_month(months()[0], by=SYSTEM) == 0
    assert month not in months()
    assert AuditEvent.objects.filter(subject_id=month.name, verb="receipts.month_dropped").count() == 1


def test_a_receipt_is_looked_for_in_the_one_partition_that_its_identity_names() -> None:
    at = datetime(2031, 11, 30, 23, 59, tzinfo=UTC)
    ensure_partitions(at=at)
    wanted = ReceiptFactory(node=NodeFactory.create(), at=at)
    ReceiptFactory(node=wanted.node, at=datetime(2031, 12, 3, tzinfo=UTC))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {_IDENTIFIED}", [wanted.node_id, wanted.request_id])
        ((plans,),) = cursor.fetchall()
    read = {
        step["Relation Name"]
        for step in _steps(plans[0]["Plan"])
        if step.get("Alias", "").startswith("receipt_") and step["Actual Loops"]
    }
    assert read == {"receipts_receipt_2031_11"}


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _steps(part)
