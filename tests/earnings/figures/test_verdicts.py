"""The verdict that holds for a receipt is the last one on it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from earnings.figures.verdicts import newest_verdicts
from earnings.models import Verdict
from nodes.models import Node
from tests.earnings.rows import earn, judge
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db
_WITH_NUMBERS = """
INSERT INTO earnings_verdict (day, receipt_id, at, state, rule, cause, confirmed, numbers, actor, reason)
VALUES (%s, %s, %s, 'held', 'implausible', 'speed', false, %s, '', '')
"""
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.fixture
def node() -> Node:
    return NodeFactory.create()


def test_the_last_verdict_holds_and_has_all_its_columns(node: Node, django_assert_num_queries: Any) -> None:
    items = [earn(node, NOON - timedelta(days=days)) for days in (0, 20, 40)]
    judge(items[2], "excluded", at=NOON, rule="late")
    judge(items[2], "payable", at=NOON, actor="admin@example.org", reason="It came over a slow line.")
    numbers = {"tokens": 7, "limit": "1.50"}
    with connection.cursor() as cursor:
        cursor.execute(_WITH_NUMBERS, [items[0].day, items[0].receipt_id, NOON, json.dumps(numbers)])
    keys = [(item.day, item.receipt_id) for item in items]
    with django_assert_num_queries(1):
        found = newest_verdicts([*keys, keys[0]])
    assert found.keys() == {item.receipt_id for item in items}
    for item in items:
        last = Verdict.objects.filter(receipt_id=item.receipt_id).order_by("-id")[0]
        own = found[item.receipt_id]
        for field in Verdict._meta.concrete_fields:
            assert getattr(own, field.attname) == getattr(last, field.attname), field.attname
    assert found[items[0].receipt_id].numbers == numbers


def test_what_is_not_judged_or_of_another_day_is_left_out(node: Node) -> None:
    item = earn(node, NOON)
    assert newest_verdicts([]) == {}
    assert newest_verdicts([(item.day, item.receipt_id + 1)]) == {}
    assert newest_verdicts([(item.day - timedelta(days=1), item.receipt_id)]) == {}
