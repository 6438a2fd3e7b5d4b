"""A cluster whose shards have replicas, with a real ZooKeeper."""

import random
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jatevo.metrics import queries
from jatevo.metrics.cluster import WrongLayout, rendered
from jatevo.metrics.cluster_transport import ClusterTransport
from jatevo.metrics.migrator import MigrationOutcome, migrate, read_files
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.partitions import Partition, drop, empty, merge, partitions_of
from jatevo.metrics.queries import note_search_origin
from jatevo.metrics.search_rows import write_search_rows
from jatevo.metrics.store import Store
from tests.metrics import clickhouse_cluster
from tests.metrics.clickhouse_cluster import ClickHouseCluster
from tests.metrics.clustered import others, random_facts, random_rows, searches, store_of, store_of_one
from tests.metrics.conftest import TIMEOUT_SECONDS
from tests.metrics.wrappers import HOUR, MINUTE, NOON, deliver, receipt, uptime

DAY = timedelta(days=1)
ALL_STATEMENTS = [statement for file in read_files() for statement in file.statements]


@pytest.fixture
def replicated(replicated_shards: ClickHouseCluster) -> Iterator[Store]:
    store = store_of(replicated_shards, "alone", replicated=True)
    migrate(store, at=NOON)
    yield store
    store.execute("DROP DATABASE alone ON CLUSTER console")
    store.close()


def test_replicas_hold_the_same_and_give_the_figures_of_one_server(
    replicated: Store, replicated_shards: ClickHouseCluster
) -> None:
    assert {step.outcome for step in migrate(replicated, at=NOON)} == {
        MigrationOutcome.ALREADY_APPLIED,
        MigrationOutcome.SKIPPED,
    }
    draw, one = random.Random(5), store_of_one(replicated_shards)
    batches = {
        uuid.UUID(int=draw.getrandbits(128)): random_facts(draw, name, nodes=17, count=90) for name in "ab"
    }
    rows = random_rows(draw, nodes=17, count=200)
    for store in (one, replicated):
        migrate(store, at=NOON)
        for batch, facts in batches.items():
            deliver(store, *facts, batch=batch)
        write_search_rows(store, rows)
        note_search_origin(store, "one", at=NOON)
    window = NOON - 2 * DAY, NOON + HOUR
    assert others(replicated, *window) == others(one, *window)
    assert searches(replicated) == searches(one)
    for replica in replicated_shards.shards[0]:
        transport = NativeTransport(replica.url("alone"), timeout_seconds=TIMEOUT_SECONDS)
        transport.execute("SYSTEM SYNC REPLICA receipt_facts_local")
        transport.close()
    counts = of_each_replica(replicated_shards, "SELECT count() FROM receipt_facts_local FINAL")
    assert counts[0] == counts[1] != counts[2]
    one.execute("DROP DATABASE single")
    one.close()


def of_each_replica(shards: ClickHouseCluster, sql: str) -> list[Any]:
    answers = []
    for server in shards.servers:
        transport = NativeTransport(server.url("alone"), timeout_seconds=TIMEOUT_SECONDS)
        answers.append(transport.execute(sql))
        transport.close()
    return answers


def test_plain_tables_are_refused_where_shards_have_several_servers(
    replicated_shards: ClickHouseCluster,
) -> None:
    plain = store_of(replicated_shards, "plain", replicated=False)
    with pytest.raises(WrongLayout, match="need replicated tables"):
        migrate(plain, at=NOON)
    assert plain.execute("SELECT count() FROM system.tables WHERE database = 'plain'") == [(0,)]
    plain.close()


def test_a_batch_that_comes_again_reaches_the_views_of_replicated_tables(
    replicated: Store, replicated_shards: ClickHouseCluster
) -> None:
    """ClickHouse would leave out a block that a replicated table has already, and its views with it."""
    batch = uuid.uuid4()
    facts = [uptime(NOON, node_id=f"node-{number}") for number in range(20)]
    replicated.execute("DROP TABLE alone.node_uptime_hour_feed ON CLUSTER console")
    deliver(replicated, *facts, times=1, batch=batch)
    for statement in ALL_STATEMENTS:
        if "node_uptime_hour_feed" in statement:
            for each in rendered(statement, replicated.cluster):
                replicated.execute_on_each(each.sql, each.params)
    assert queries.minutes_up_by_node(replicated, NOON, NOON + MINUTE) == {}
    deliver(replicated, *facts, times=1, batch=batch)
    assert len(queries.minutes_up_by_node(replicated, NOON, NOON + MINUTE)) == 20


def test_partitions_of_replicated_tables_are_dropped_merged_and_emptied(
    replicated: Store, replicated_shards: ClickHouseCluster
) -> None:
    for days in (0, 50):
        deliver(replicated, *(uptime(NOON - days * DAY, node_id=f"node-{n}") for n in range(40)))
    old, new = partitions_of(replicated, "node_uptime_minute")
    drop(replicated, old)
    merge(replicated, new)
    assert partitions_of(replicated, "node_uptime_minute") == [
        Partition("node_uptime_minute", new.number, 40)
    ]
    empty(replicated, "node_uptime_minute")
    assert partitions_of(replicated, "node_uptime_minute") == []


def test_a_replica_that_is_lost_is_missed_by_nobody(
    replicated: Store, replicated_shards: ClickHouseCluster
) -> None:
    facts = [receipt(f"r-{number}", node_id=f"node-{number}") for number in range(40)]
    deliver(replicated, *facts)
    for table in ("receipt_facts", "requests_minute", "requests_hour"):
        of_each_replica(replicated_shards, f"SYSTEM SYNC REPLICA {table}_local")
    window = NOON - HOUR, NOON + HOUR
    replicated_shards.kill(0, 1)
    deliver(replicated, receipt("r-new", node_id="node-new"))
    assert queries.receipt_totals(replicated, *window).count == 41
    replicated_shards.restart(0, 1)
    other = ClusterTransport(
        replicated_shards.shards[0][1].url("alone"), clickhouse_cluster.NAME, timeout_seconds=TIMEOUT_SECONDS
    )
    other.execute("SYSTEM SYNC REPLICA receipt_facts_local")
    assert queries.receipt_totals(other, *window).count == 41
    other.close()
