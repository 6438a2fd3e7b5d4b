"""Rollups agree with the raw tables, whatever is delivered twice or interrupted."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from jatevo.metrics.cluster import rendered, target
from jatevo.metrics.facts import Fact
from jatevo.metrics.migrator import migrate, read_files
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.partitions import empty, partitions_of
from jatevo.metrics.queries import (
    latency_by_hour,
    latency_by_node_hour,
    minutes_up_by_node,
    p95_of_network,
    receipt_totals,
    requests_count,
    traffic_by_hour,
    uptime_ratio,
)
from jatevo.metrics.store import Store
from jatevo.metrics.transport import TYPE_MISMATCH, Cell, QueryRefused, Transport
from jatevo.metrics.writer import write
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.wrappers import (
    HOUR,
    MINUTE,
    NOON,
    NOON_SECONDS,
    Intercepted,
    deliver,
    latency,
    receipt,
    uptime,
)

DAY = timedelta(days=1)
DAY_SECONDS = 86_400
Rows = Sequence[Sequence[Cell]]
RAW = ("receipt_facts", "requests_minute", "node_latency_minute", "node_uptime_minute")
FEEDS = (
    "requests_hour_feed",
    "node_uptime_hour_feed",
    "node_first_minute_feed",
    "node_latency_hour_feed",
)


class CrashInRollup(BaseException):
    """Represents the end of the process, so nothing may catch it."""


def figures(store: Transport) -> dict[str, Any]:
    """All figures of the raw tables and the rollups for the fifty days around noon."""
    window = NOON - 40 * DAY, NOON + 10 * DAY
    inner = NOON - 30 * MINUTE, NOON + 90 * MINUTE  # an edge, a whole hour, an edge
    return {
        "raw": [store.execute(" ".join(["SELECT count() FROM", table, "FINAL"])) for table in RAW],
        "sums": store.execute(
            "SELECT sum(count), sum(tokens_in), sum(tokens_out), sum(cache_hits), sum(errors)"
            " FROM requests_minute FINAL"
        ),
        "traffic": traffic_by_hour(store, *window),
        "requests": [requests_count(store, *window), requests_count(store, *inner)],
        "receipts": receipt_totals(store, *window),
        "uptime": [uptime_ratio(store, None, *window), minutes_up_by_node(store, *inner)],
        "node hours": [latency_by_node_hour(store, f"node-{n}", *window) for n in range(3)],
        "hours": latency_by_hour(store, NOON - HOUR, NOON + 3 * HOUR),
        "regions": p95_of_network(store, *inner),
    }


def traffic(name: str, *, days: int = 1) -> list[Fact]:
    """Facts of three nodes around noon, for this number of days."""
    facts: list[Fact] = []
    for number in range(60):
        noon = NOON_SECONDS - number % days * DAY_SECONDS
        ts = noon + (number - 20) * 120
        node = {"node_id": f"node-{number % 3}", "region": f"region-{number % 2}"}
        facts += [
            receipt(f"{name}-{number}", ts_end=ts, failed=number % 5 == 0, cache_hit=number % 4 == 0, **node),
            latency(f"{name}-{number}", ts=ts, p50=10.0 + number, p95=100.0 + number, **node),
            uptime(minute=NOON, node_id=f"node-{number % 3}", beats=number),
        ]
        facts.append(uptime(minute=NOON + (number - 20) * 2 * MINUTE, node_id="node-0", up=number % 6 != 0))
    return facts


def test_any_batch_delivered_again_leaves_every_figure(store: Store) -> None:
    batches = {uuid.uuid4(): traffic(name, days=3) for name in ("a", "b")}
    for batch, facts in batches.items():
        deliver(store, *facts, times=1, batch=batch)
    once = figures(store)
    for batch, facts in [*batches.items(), *reversed(batches.items())]:
        deliver(store, *facts, times=1, batch=batch)
    assert figures(store) == once
    for table in (*RAW, "requests_hour", "node_uptime_hour", "node_latency_hour", "node_first_minute"):
        store.execute_on_each(f"OPTIMIZE TABLE {target(store, table)} FINAL")
    assert figures(store) == once


@pytest.mark.parametrize("last_table", RAW)
def test_a_delivery_cut_short_after_any_table_is_made_whole_by_the_next(
    store: Store, last_table: str
) -> None:
    def crash(table: str, rows: Rows) -> None:
        if table == last_table:
            raise CrashInRollup

    batch, facts = uuid.uuid4(), traffic("a")
    with pytest.raises(CrashInRollup):
        deliver(Intercepted(store, after=crash), *facts, batch=batch)
    deliver(store, *facts, times=1, batch=batch)
    again = figures(store)
    for table in (*RAW, "requests_hour", "node_uptime_hour", "node_latency_hour", "node_first_minute"):
        empty(store, table)
    deliver(store, *facts, times=1, batch=batch)
    assert figures(store) == again


def test_a_batch_of_more_days_than_one_insert_takes_may_be_cut_between_them(store: Store) -> None:
    inserts = 0

    def crash(table: str, rows: Rows) -> None:
        nonlocal inserts
        inserts += table == "requests_minute"
        if inserts == 2:
            raise CrashInRollup

    batch, facts = uuid.uuid4(), traffic("a", days=45)
    with pytest.raises(CrashInRollup):
        deliver(Intercepted(store, before=crash), *facts, batch=batch)
    assert 0 < sum(line.requests for line in traffic_by_hour(store, NOON - 50 * DAY, NOON + DAY)) < 60
    deliver(store, *facts, times=2, batch=batch)
    whole = NOON - 50 * DAY, NOON + DAY
    assert sum(line.requests for line in traffic_by_hour(store, *whole)) == 60
    assert requests_count(store, *whole) == receipt_totals(store, *whole).count == 60


@pytest.mark.parametrize("feed", FEEDS)
def test_a_server_that_died_between_a_table_and_its_view_catches_up(store: Store, feed: str) -> None:
    batch, facts = uuid.uuid4(), traffic("a")
    store.execute_on_each(f"DROP TABLE {feed}")
    try:
        deliver(store, *facts, times=1, batch=batch)
    finally:
        for file in read_files():
            for statement in file.statements:
                if feed in statement:
                    for each in rendered(statement, store.cluster):
                        store.execute_on_each(each.sql)
    cut_short = figures(store)
    deliver(store, *facts, times=1, batch=batch)
    whole = figures(store)
    assert whole != cut_short
    deliver(store, *facts, times=1, batch=batch)
    assert figures(store) == whole
    assert sum(line.requests for line in traffic_by_hour(store, NOON - DAY, NOON + DAY)) == 60
    assert minutes_up_by_node(store, NOON, NOON + MINUTE) == {"node-0": 1, "node-1": 1, "node-2": 1}


def test_a_batchs_requests_are_never_inserted_in_halves(store: Store) -> None:
    def refuse(table: str, rows: Rows) -> None:
        if table == "requests_minute" and len(rows) > 1:
            raise QueryRefused("a bad row", TYPE_MISMATCH)

    batch, facts = uuid.uuid4(), traffic("a")
    with pytest.raises(QueryRefused):
        write(Intercepted(store, before=refuse), batch, list(enumerate(facts)))
    assert requests_count(store, NOON - DAY, NOON + DAY) == 0
    deliver(store, *facts, batch=batch)
    assert sum(line.requests for line in traffic_by_hour(store, NOON - DAY, NOON + DAY)) == 60


@pytest.fixture(params=["chdb", "native"])
def own_database(
    request: pytest.FixtureRequest, chdb_migrated: Store, clickhouse_server: ClickHouseServer
) -> Iterator[Store]:
    """A migrated store that no other test uses, because this test drops its tables."""
    if request.param == "native":
        own = Store(NativeTransport(clickhouse_server.url("before"), timeout_seconds=10.0))
        migrate(own, at=NOON)
        yield own
        own.execute("DROP DATABASE before")
        own.close()
    else:
        chdb_migrated.execute("CREATE DATABASE before")
        chdb_migrated.execute("USE before")
        migrate(chdb_migrated, at=NOON)
        yield chdb_migrated
        chdb_migrated.execute("USE jatevo")
        chdb_migrated.execute("DROP DATABASE before")


def test_rows_from_before_the_rollups_are_in_them_after_the_migration(own_database: Store) -> None:
    """Drops the new tables, to get what an installation of the first release has."""
    store = own_database
    deliver(store, *traffic("a", days=3))
    expected = figures(store)
    for table in (*FEEDS, "requests_hour", "node_uptime_hour", "node_first_minute", "node_latency_hour"):
        store.execute(f"DROP TABLE {table}")
    store.execute("ALTER TABLE requests_minute DROP COLUMN errors")
    store.execute("CREATE TABLE applied_before AS schema_migrations")
    store.execute("INSERT INTO applied_before SELECT * FROM schema_migrations")
    store.execute("TRUNCATE TABLE schema_migrations")
    store.execute("INSERT INTO schema_migrations SELECT * FROM applied_before WHERE version < 6")
    steps = {step.name: step for step in migrate(store, at=NOON)}
    assert steps["0009_requests_hour_before"].detail == "3 partitions of requests_minute"
    # The failures are rows of their own, by minute, because the batches' rows cannot be told which were theirs.
    migrated = figures(store)
    assert migrated.pop("raw") != expected.pop("raw")
    assert migrated == expected


def test_a_backfill_run_twice_changes_nothing(store: Store) -> None:
    deliver(store, *traffic("a", days=3))
    expected = figures(store)
    for file in read_files():
        if file.partitions_of and "errors" not in file.name:  # these are for rows that have no errors yet
            for partition in partitions_of(store, file.partitions_of):
                for statement in file.statements * 2:
                    store.execute(statement, {"partition": partition.number})
    assert figures(store) == expected
