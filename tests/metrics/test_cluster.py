"""Tables on a cluster: how they are made, and that they give the figures of one server."""

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from jatevo.metrics import retention
from jatevo.metrics.cluster import Cluster, WrongLayout
from jatevo.metrics.cluster_transport import ClusterTransport
from jatevo.metrics.migrator import MigrationOutcome, migrate, read_files
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.partitions import Partition, partitions_of, unmerged
from jatevo.metrics.queries import note_search_origin, search_origin
from jatevo.metrics.search_rows import SEARCH_TABLES, write_search_rows
from jatevo.metrics.store import Store, get_store
from receipts.search.tidying import QUIET_FOR, tidy
from tests.metrics import clickhouse_cluster
from tests.metrics.clickhouse_cluster import ClickHouseCluster
from tests.metrics.clustered import others, random_facts, random_rows, searches, store_of, store_of_one
from tests.metrics.conftest import TIMEOUT_SECONDS
from tests.metrics.test_rollups import figures
from tests.metrics.wrappers import HOUR, NOON, NOON_SECONDS, deliver, uptime

DAY = timedelta(days=1)
REPLICATED = Cluster("console", "jatevo")
ALL_STATEMENTS = [statement for file in read_files() for statement in file.statements]


@pytest.fixture
def cluster(two_shards: ClickHouseCluster) -> Iterator[Store]:
    """A database of the test's own on two shards, with the schema."""
    store = store_of(two_shards, "alone", replicated=False)
    migrate(store, at=NOON)
    yield store
    store.execute_on_each("DROP DATABASE alone")
    store.close()


def of_each_shard(shards: ClickHouseCluster, sql: str, database: str = "alone") -> list[Any]:
    """The answer of each shard's first server."""
    answers = []
    for servers in shards.shards:
        transport = NativeTransport(servers[0].url(database), timeout_seconds=TIMEOUT_SECONDS)
        answers.append(transport.execute(sql))
        transport.close()
    return answers


@pytest.mark.parametrize("seed", [1, 2])
def test_two_shards_give_the_figures_of_one_server(
    cluster: Store, two_shards: ClickHouseCluster, seed: int
) -> None:
    draw = random.Random(seed)
    batches = {
        uuid.UUID(int=draw.getrandbits(128)): random_facts(draw, name, nodes=17, count=120) for name in "abc"
    }
    rows = random_rows(draw, nodes=17, count=300)
    draw.shuffle(rows)
    one = store_of_one(two_shards)
    for store in (one, cluster):
        migrate(store, at=NOON)
        for batch in [*batches, *random.Random(seed).sample(sorted(batches), 2)]:  # some come twice
            deliver(store, *batches[batch], times=1, batch=batch)
        write_search_rows(store, rows)
        write_search_rows(store, rows[:100])
        note_search_origin(store, "one", at=NOON)
    counts = of_each_shard(two_shards, "SELECT count() FROM receipt_facts_local")
    assert all(count > 50 for ((count,),) in counts)
    window = NOON - 2 * DAY, NOON + HOUR
    expected, found = figures(one), figures(cluster)
    # a t-digest depends on the order in which it gets its samples
    expected_p95, p95 = expected.pop("regions"), found.pop("regions")
    assert p95.p95_ms == pytest.approx(expected_p95.p95_ms, rel=0.03)
    assert [each.probes for each in found.pop("hours")] == [each.probes for each in expected.pop("hours")]
    assert found == expected
    assert searches(cluster) == searches(one)
    assert others(cluster, *window) == others(one, *window)
    one.execute("DROP DATABASE single")
    one.close()


# Partitions


def test_retention_drops_a_day_on_every_shard(
    cluster: Store, two_shards: ClickHouseCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "get_store", lambda: cluster)
    for days in (0, 50):
        deliver(cluster, *(uptime(NOON - days * DAY, node_id=f"node-{n}") for n in range(40)))
    drop_old = retention.old_partitions("node_uptime_minute")
    assert [str(each) for each in drop_old(NOON - 30 * DAY, False)] == ["20260113 (80 rows)"]
    assert partitions_of(cluster, "node_uptime_minute") == [Partition("node_uptime_minute", 20260304, 80)]
    left = of_each_shard(two_shards, "SELECT DISTINCT toYYYYMMDD(ts) FROM node_uptime_minute_local")
    assert left == [[(20260304,)], [(20260304,)]]


def test_parts_are_merged_on_the_shards_that_have_several(
    cluster: Store, two_shards: ClickHouseCluster
) -> None:
    draw = random.Random(4)
    rows = [
        row for row in random_rows(draw, nodes=17, count=200) if row.accepted_at > NOON_SECONDS - 86_400 * 3
    ]
    for table in SEARCH_TABLES:
        cluster.execute_on_each(f"SYSTEM STOP MERGES {table}_local")
    write_search_rows(cluster, rows)
    late = next(row for row in rows if row.node_id == rows[0].node_id)
    write_search_rows(cluster, [late])  # one shard gets a second part
    for table in SEARCH_TABLES:
        cluster.execute_on_each(f"SYSTEM START MERGES {table}_local")
    at = datetime.now(UTC) + QUIET_FOR + timedelta(seconds=5)
    before = [unmerged(cluster, table, quiet_since=at - QUIET_FOR) for table in SEARCH_TABLES]
    assert [len(each) for each in before] == [1, 1]
    assert [each.table for each in (tidy(store=cluster, at=at), tidy(store=cluster, at=at)) if each] == [
        *SEARCH_TABLES
    ]
    assert tidy(store=cluster, at=at) is None


# Which shards there are


def test_a_shard_that_was_emptied_is_never_taken_for_the_whole(
    cluster: Store, two_shards: ClickHouseCluster
) -> None:
    note_search_origin(cluster, "the-filling", at=NOON)
    assert search_origin(cluster) == "the-filling"
    for number in (0, 1):
        lost = NativeTransport(two_shards.shards[number][0].url("alone"), timeout_seconds=TIMEOUT_SECONDS)
        lost.execute("TRUNCATE TABLE receipt_search_origin_local")
        lost.close()
        assert search_origin(cluster) == ""
        note_search_origin(cluster, "the-filling", at=NOON + DAY)
        assert search_origin(cluster) == "the-filling"


def test_a_second_migration_changes_nothing_and_one_for_other_shards_is_refused(
    cluster: Store, two_shards: ClickHouseCluster
) -> None:
    again = {step.outcome for step in migrate(cluster, at=NOON + DAY)}
    assert again == {MigrationOutcome.ALREADY_APPLIED, MigrationOutcome.SKIPPED}
    lost = NativeTransport(two_shards.shards[1][0].url("alone"), timeout_seconds=TIMEOUT_SECONDS)
    lost.execute("TRUNCATE TABLE schema_migrations_local")
    lost.close()
    with pytest.raises(WrongLayout, match="one was added, removed, emptied or replaced"):
        migrate(cluster, at=NOON + DAY)


def test_a_migration_that_ended_before_every_shard_knew_goes_on(
    cluster: Store, two_shards: ClickHouseCluster
) -> None:
    lost = NativeTransport(two_shards.shards[1][0].url("alone"), timeout_seconds=TIMEOUT_SECONDS)
    lost.execute("CREATE TABLE kept ENGINE = Log AS SELECT * FROM schema_migrations_local WHERE version < 22")
    lost.execute("TRUNCATE TABLE schema_migrations_local")
    lost.execute("INSERT INTO schema_migrations_local SELECT * FROM kept")
    lost.close()
    steps = {step.name: step.outcome for step in migrate(cluster, at=NOON + DAY)}
    assert steps["0022_receipt_search_start"] is MigrationOutcome.APPLIED
    assert steps["0020_receipt_search_fee"] is MigrationOutcome.ALREADY_APPLIED
    assert MigrationOutcome.APPLIED not in {step.outcome for step in migrate(cluster, at=NOON + DAY)}


def test_a_cluster_that_has_lost_a_shard_is_noticed(cluster: Store, two_shards: ClickHouseCluster) -> None:
    note_search_origin(cluster, "the-filling", at=NOON)
    name = clickhouse_cluster.NAME_OF_FIRST_SHARD
    cut = Store(
        ClusterTransport(two_shards.url("alone"), name, replicated=False, timeout_seconds=TIMEOUT_SECONDS)
    )
    assert search_origin(cut) == ""
    with pytest.raises(WrongLayout, match="one was added, removed"):
        migrate(cut, at=NOON)
    cut.close()


def test_an_installation_of_one_server_is_refused_with_what_to_do(
    two_shards: ClickHouseCluster, settings: Settings
) -> None:
    one = store_of_one(two_shards)
    migrate(one, at=NOON)
    before = one.execute("SELECT name, engine FROM system.tables WHERE database = 'single' ORDER BY name")
    settings.CLICKHOUSE_URL = two_shards.url("single")
    settings.CLICKHOUSE_CLUSTER, settings.CLICKHOUSE_REPLICATED = clickhouse_cluster.NAME, False
    with pytest.raises(CommandError, match=r"tables of a single server.*Rebuild it, as docs/runbooks"):
        call_command("metrics_migrate")
    get_store().close()
    assert before == one.execute(
        "SELECT name, engine FROM system.tables WHERE database = 'single' ORDER BY name"
    )
    one.execute("DROP DATABASE single")
    one.close()


def test_a_clusters_tables_are_refused_without_the_setting(
    cluster: Store, two_shards: ClickHouseCluster, settings: Settings
) -> None:
    settings.CLICKHOUSE_URL, settings.CLICKHOUSE_CLUSTER = two_shards.url("alone"), ""
    with pytest.raises(CommandError, match="Set CLICKHOUSE_CLUSTER"):
        call_command("metrics_migrate")
    get_store().close()


def test_a_name_that_no_server_knows_is_said_so(two_shards: ClickHouseCluster, settings: Settings) -> None:
    settings.CLICKHOUSE_URL = two_shards.url("alone")
    settings.CLICKHOUSE_CLUSTER, settings.CLICKHOUSE_REPLICATED = "unheard_of", False
    with pytest.raises(CommandError, match="unheard_of"):
        call_command("metrics_migrate")
    get_store().close()
