"""The two stores for contract tests: chDB in this process, and a real ClickHouse server."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from jatevo.metrics.cluster_transport import ClusterTransport
from jatevo.metrics.migrator import SCHEMA_FOLDER, migrate
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.partitions import empty
from jatevo.metrics.store import Store
from tests.metrics import clickhouse_cluster
from tests.metrics import clickhouse_server as real_server
from tests.metrics.clickhouse_cluster import ClickHouseCluster
from tests.metrics.clickhouse_server import ClickHouseServer

TABLES = (
    "receipt_facts",
    "receipt_search",
    "receipt_search_of_node",
    "receipt_search_origin",
    "requests_minute",
    "requests_hour",
    "node_latency_minute",
    "node_latency_hour",
    "node_uptime_minute",
    "node_uptime_hour",
    "node_first_minute",
)
TIMEOUT_SECONDS = 20.0  # no test makes this store wait, but other tests keep the machine busy


def needed_binary() -> str:
    """The server's program. Without its package, tests are skipped, or fail in CI."""
    binary = real_server.find_binary()
    if binary is None:
        _lacks("clickhouse-server is not installed (Debian: apt-get install clickhouse-server)")
    return binary


def _lacks(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A real server for the whole run."""
    server = real_server.start(needed_binary(), tmp_path_factory.mktemp("clickhouse"))
    yield server
    real_server.stop(server)


@pytest.fixture(scope="session")
def two_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseCluster]:
    """Two real servers as the shards of a cluster, without replicas."""
    cluster = clickhouse_cluster.start(needed_binary(), tmp_path_factory.mktemp("shards"), replicas=[1, 1])
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def replicated_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseCluster]:
    """Two shards, of which the first has two replicas, and a ZooKeeper."""
    binary = needed_binary()
    if not clickhouse_cluster.has_zookeeper():
        _lacks("zookeeper is not installed (Debian: apt-get install zookeeper default-jre-headless)")
    folder = tmp_path_factory.mktemp("replicas")
    cluster = clickhouse_cluster.start(binary, folder, replicas=[2, 1], zookeeper=True)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def native_migrated(clickhouse_server: ClickHouseServer) -> Iterator[Store]:
    store = Store(NativeTransport(clickhouse_server.url(), timeout_seconds=TIMEOUT_SECONDS))
    migrate(store, at=datetime.now(UTC))
    yield store
    store.close()


@pytest.fixture(scope="session")
def cluster_migrated(two_shards: ClickHouseCluster) -> Iterator[Store]:
    transport = ClusterTransport(
        two_shards.url(), clickhouse_cluster.NAME, replicated=False, timeout_seconds=TIMEOUT_SECONDS
    )
    store = Store(transport)
    migrate(store, at=datetime.now(UTC))
    yield store
    store.close()


@pytest.fixture(params=["chdb", "native", "cluster"])
def store(request: pytest.FixtureRequest) -> Store:
    """An empty, migrated store. Every test that takes it runs on chDB, on a server and on two shards."""
    store: Store = request.getfixturevalue(f"{request.param}_migrated")
    empty_tables(store)
    return store


@pytest.fixture
def chdb_store(chdb_migrated: Store) -> Store:
    """An empty chDB, for tests that do not depend on the transport."""
    empty_tables(chdb_migrated)
    return chdb_migrated


def empty_tables(store: Store) -> None:
    for table in TABLES:
        empty(store, table)


@pytest.fixture
def schema_copy(tmp_path: Path) -> Path:
    """A copy of the schema's files for the test."""
    folder = tmp_path / "schema"
    folder.mkdir()
    for file in SCHEMA_FOLDER.glob("*.sql"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
