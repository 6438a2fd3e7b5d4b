"""The migration queues the receipts that exist for earnings."""

from importlib import import_module

import pytest
from django.db import connection

from receipts.models import UnjudgedReceipt
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db


def test_receipts_that_exist_are_queued_once() -> None:
    fill = import_module("receipts.migrations.0005_queue_so_far").FILL
    node = NodeFactory.create()
    receipts = [ReceiptFactory(node=node) for _ in range(3)]
    UnjudgedReceipt.objects.exclude(pk=receipts[0].id).delete()
    with connection.cursor() as cursor:
        cursor.execute(fill)
    queued = UnjudgedReceipt.objects.values_list("id", "accepted_at", "node_id", "request_id")
    assert set(queued) == {(each.id, each.accepted_at, node.pk, each.request_id) for each in receipts}
