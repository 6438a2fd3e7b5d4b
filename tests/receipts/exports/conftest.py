"""Receipts by the thousand, and exports of them as the worker writes them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from nodes.models import Node
from receipts.exports import query, views, writing
from receipts.exports.writing import write_exports
from receipts.models import ReceiptExport

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=2)
_MANY = """
INSERT INTO receipts_receipt (id, accepted_at, node_id, request_id, region, model_id, ts_start, ts_end, tokens_input,
    tokens_output, p95_ms, hedged, cache_hit, failed, node_status, node_status_at_end, org_id, concurrency, public_key,
    key_since, sha256, raw, payload)
SELECT 100000 + n, %(at)s - n / 7 * interval '1 second', %(node)s, 'r_' || n, 'eu', 'qwen3', %(at)s, %(at)s, n, 1, 1,
       n %% 3 = 0, false, false, 'active', 'active', %(org)s, 2, sha256('k'), %(at)s, sha256(n::text::bytea), '{}', '{}'
FROM generate_series(1, %(count)s) AS n
"""
Many = Callable[[int], None]


@pytest.fixture
def many(node: Node) -> Many:
    """Makes so many receipts of the node. Several share one moment, as those of a batch do."""

    def make(count: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_MANY, {"at": NOON, "node": node.pk, "org": node.org_id, "count": count})

    return make


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rows are too many for a web process, and a part has seven."""
    for module in (query, views):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 10)
    monkeypatch.setattr(writing, "ROWS_PER_PART", 7)


def write_all() -> ReceiptExport:
    """What the worker does until nothing waits. Returns the newest export."""
    write_exports(now=lambda: NOW, seconds=60)
    return ReceiptExport.objects.order_by("-created_at", "-pk")[0]
