"""The command that compares the search with PostgreSQL, repairs it and fills it anew; and the months it drops."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command

from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.search_rows import SEARCH_TABLES
from jatevo.metrics.store import Store
from nodes.models import Node
from receipts.models import Receipt
from receipts.partitions import ensure_partitions
from receipts.retention import old_search_months
from receipts.search.checking import differences
from receipts.search.filling import Filled, fill
from tests.factories import NodeFactory, ReceiptFactory
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]
pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 10, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(id="macbook-001")


@pytest.fixture
def receipts(chdb_store: Store, node: Node) -> list[Receipt]:
    """Nine receipts, two of them in one second, all in the search."""
    with time_machine.travel(NOW, tick=False):
        made = [
            ReceiptFactory(node=node, at=NOW - timedelta(minutes=10 - number // 2)) for number in range(9)
        ]
        fill(at=NOW, store=chdb_store)
    return made


def run(*arguments: str) -> str:
    out = StringIO()
    with time_machine.travel(NOW, tick=False):
        call_command("receipt_search", *arguments, stdout=out)
    return out.getvalue()


def test_nothing_differs_however_the_receipts_are_cut(receipts: list[Receipt], chdb_store: Store) -> None:
    first, until = NOW.replace(microsecond=0) - timedelta(hours=1), NOW.replace(microsecond=0)
    for at_once in (3, 4, 7, 100):
        assert list(differences(first, until, store=chdb_store, at_once=at_once)) == []
    assert "No differences" in run("check")
    assert "complete but for that until 2026-11-10 11:59:55 UTC" in run("status")


def test_what_differs_is_named_and_repaired(receipts: list[Receipt], chdb_store: Store) -> None:
    wrong, missing = receipts[2], receipts[5]
    chdb_store.execute(
        "INSERT INTO receipt_search (accepted_at, id, micros, node_id, request_id, org_id, region, model,"
        " tokens_input_low, tokens_input_high, tokens_output_low, tokens_output_high, p95_ms, hedged, cache_hit,"
        " outcome, signed_with, payment, fee_usd, version)"
        " SELECT accepted_at, id, micros, node_id, request_id, org_id, region, model, tokens_input_low + 1,"
        " tokens_input_high, tokens_output_low, tokens_output_high, p95_ms, hedged, cache_hit, outcome, signed_with,"
        " payment, fee_usd, version"
        " FROM receipt_search WHERE id = {id}",
        {"id": wrong.id},
    )
    chdb_store.execute(
        "ALTER TABLE receipt_search DELETE WHERE id = {id} SETTINGS mutations_sync = 1", {"id": missing.id}
    )
    found = {
        each.id: each
        for each in differences(
            NOW.replace(microsecond=0, hour=0), NOW.replace(microsecond=0), store=chdb_store, at_once=4
        )
    }
    assert set(found) == {wrong.id, missing.id}
    assert "tokens_input" in str(found[wrong.id])
    assert "missing in ClickHouse" in str(found[missing.id])
    with pytest.raises(CommandError, match="2 receipts differ"):
        run("check", "--repair")
    with time_machine.travel(NOW, tick=False):
        assert fill(at=NOW, store=chdb_store).receipts >= 4
    assert "No differences" in run("check")


def test_a_row_that_only_the_order_of_nodes_lacks_is_named(
    receipts: list[Receipt], chdb_store: Store
) -> None:
    missing = receipts[5]
    chdb_store.execute(
        "ALTER TABLE receipt_search_of_node DELETE WHERE id = {id} SETTINGS mutations_sync = 1",
        {"id": missing.id},
    )
    with pytest.raises(CommandError, match="1 receipt differs"):
        run("check", "--repair")
    with time_machine.travel(NOW, tick=False):
        fill(at=NOW, store=chdb_store)
    assert "No differences" in run("check")


def test_rows_that_only_clickhouse_has_are_named_and_a_rebuild_removes_them(
    receipts: list[Receipt], chdb_store: Store
) -> None:
    chdb_store.insert("receipt_search", ["accepted_at", "id"], [(NOW - timedelta(minutes=7), 5)])
    with pytest.raises(CommandError, match="1 receipt differs"):
        run("check")
    assert "anew" in run("rebuild")
    with pytest.raises(CommandError, match="does not hold"):
        run("check")
    assert "to fill:" in run("status")
    with time_machine.travel(NOW, tick=False):
        assert fill(at=NOW, store=chdb_store) == Filled(9)
    assert not ReceiptGap.objects.exists()
    assert "No differences" in run("check", "--from", "2026-11-10", "--to", "2026-11-11")


def test_months_are_dropped_once_postgresql_has_dropped_them(
    receipts: list[Receipt], chdb_store: Store
) -> None:
    ensure_partitions(at=NOW)  # that month is past by now
    old = datetime(2024, 2, 3, tzinfo=UTC)
    chdb_store.insert("receipt_search", ["accepted_at", "id"], [(old, 5)])
    before = NOW + timedelta(days=400)
    names = [dropped.partition for dropped in old_search_months(before, True)]
    assert "202402" in names
    assert "202611" not in names  # PostgreSQL still has this month
    list(old_search_months(before, False))
    for table in SEARCH_TABLES:
        assert chdb_store.execute(f"SELECT count() FROM {table} WHERE id = 5") == [(0,)]  # noqa: S608
    assert chdb_store.execute("SELECT count() FROM receipt_search FINAL") == [(9,)]
