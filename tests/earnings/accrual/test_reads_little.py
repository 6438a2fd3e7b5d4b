"""A batch reads the items of its own nodes and requests, however many others ended on the same day.

PostgreSQL's statistics know nothing of a day that has begun since they were taken. A look-up that it could do by day
would then read the whole day for each node.
"""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from earnings.accrual.contested import load_requests
from earnings.accrual.itemise import itemise, make_work_tables
from tests.earnings.accrual.test_accrue import active_node
from tests.earnings.rows import earn
from tests.factories import ReceiptFactory

pytestmark = pytest.mark.django_db
OTHERS = 3_000
ENDED = datetime(2026, 3, 10, 12, tzinfo=UTC)
_COPIES = """
INSERT INTO earnings_item SELECT (jsonb_populate_record(i, jsonb_build_object(
    'receipt_id', i.receipt_id - 1000000 - g, 'request_id', 'copy_' || g))).*
FROM earnings_item i, generate_series(1, %s) g WHERE i.receipt_id = %s
"""
_READ = """
SELECT COALESCE(sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_user_tables
WHERE relname LIKE 'earnings_item_2%'
"""


def items_read() -> int:
    """How many items this transaction has read so far."""
    with connection.cursor() as cursor:
        cursor.execute(_READ)
        ((count,),) = cursor.fetchall()
    return int(count)


@pytest.fixture
def crowded_day() -> None:
    """Thousands of items of another node on a day that the statistics do not know."""
    earn(active_node("before", since=ENDED - timedelta(days=30)), ENDED - timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE earnings_item_2026_03")
        cursor.execute(
            _COPIES, [OTHERS, earn(active_node("others", since=ENDED - timedelta(days=30)), ENDED).receipt_id]
        )


@pytest.mark.usefixtures("crowded_day")
def test_new_receipts_are_compared_with_items_of_their_nodes_only() -> None:
    node = active_node("new", since=ENDED - timedelta(days=30))
    earn(node, ENDED)
    end = int(ENDED.timestamp())
    ReceiptFactory(node=node, at=ENDED + timedelta(seconds=2), ts_start=end - 16, ts_end=end)
    make_work_tables()
    before = items_read()
    taken = itemise(after=0, until=ENDED + timedelta(hours=1), limit=100)
    assert taken.itemised == 1
    assert items_read() - before < OTHERS / 10


@pytest.mark.usefixtures("crowded_day")
def test_a_request_is_looked_up_by_its_id() -> None:
    item = earn(active_node("asked", since=ENDED - timedelta(days=30)), ENDED)
    before = items_read()
    known = load_requests([item.request_id])
    assert [each.facts.receipt_id for each in known[item.request_id].items] == [item.receipt_id]
    assert items_read() - before < OTHERS / 10
