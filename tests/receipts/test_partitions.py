"""Monthly partitions: made ahead, and nothing lost when they come late."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from receipts.models import Receipt
from receipts.partitions import ensure_partitions
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
