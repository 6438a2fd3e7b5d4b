"""Months of the search that were written to late become one part again."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jatevo.metrics.search_rows import SEARCH_TABLES, SearchRow, write_search_rows
from jatevo.metrics.store import Store
from receipts.search.tidying import QUIET_FOR, tidy
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]


def row(id: int, month: int, **changed: Any) -> SearchRow:
    named: dict[str, Any] = {
        "accepted_at": int(datetime(2026, month, 10, tzinfo=UTC).timestamp()) + id, "id": id, "micros": 0,
        "node_id": "node-1", "request_id": f"r-{id}", "org_id": "", "region": "eu", "model": "llama3.1-8b",
        "tokens_input": 1, "tokens_output": 2, "p95_ms": 3.0, "hedged": 0, "cache_hit": 0, "outcome": "ok",
        "signed_with": "current",
    }  # fmt: skip
    return SearchRow(**named | changed)


def parts(store: Store, table: str) -> dict[str, tuple[int, int]]:
    """How many parts and rows each month has."""
    found = store.execute(
        "SELECT partition, count(), sum(rows) FROM system.parts"
        " WHERE active AND database = currentDatabase() AND table = {table} GROUP BY partition",
        {"table": table},
    )
    return {str(month): (count, rows) for month, count, rows in found}


@pytest.fixture
def store(chdb_store: Store) -> Store:
    """Two months, of which one has several parts and a row twice. ClickHouse leaves them as they are."""
    for table in SEARCH_TABLES:
        chdb_store.execute(f"SYSTEM STOP MERGES {table}")
    write_search_rows(chdb_store, [row(1, 8), row(2, 9), row(3, 9)])
    write_search_rows(chdb_store, [row(2, 9, payment="payable", version=7)])
    for table in SEARCH_TABLES:
        chdb_store.execute(f"SYSTEM START MERGES {table}")
        assert parts(chdb_store, table) == {"202608": (1, 1), "202609": (2, 3)}
    return chdb_store


def test_month_that_is_quiet_becomes_one_part_table_by_table(store: Store) -> None:
    at = datetime.fromtimestamp(time.time(), UTC) + QUIET_FOR + timedelta(seconds=5)
    merged = [tidy(store=store, at=at), tidy(store=store, at=at)]
    assert [(each.table, each.number) for each in merged if each] == [
        (table, 202609) for table in SEARCH_TABLES
    ]
    for table in SEARCH_TABLES:
        assert parts(store, table) == {"202608": (1, 1), "202609": (1, 2)}
    assert tidy(store=store, at=at) is None


def test_month_into_which_receipts_come_is_left_alone(store: Store) -> None:
    assert tidy(store=store, at=datetime.fromtimestamp(time.time(), UTC)) is None
    assert parts(store, SEARCH_TABLES[0])["202609"] == (2, 3)
