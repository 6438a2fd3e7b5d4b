"""The two stores for contract tests: chDB in this process, and a real ClickHouse server."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jatevo.metrics.migrator import SCHEMA_FOLDER, migrate
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.store import Store
from tests.metrics import clickhouse_server as real_server
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


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A real server for the whole run. Without its package, tests are skipped, or fail in CI."""
    binary = real_server.find_binary()
    if binary is None:
        reason = "clickhouse-server is not installed (Debian: apt-get install clickhouse-server)"
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail(reason)
        pytest.skip(reason)
    server = real_server.start(binary, tmp_path_factory.mktemp("clickhouse"))
    yield server
    real_server.stop(server)


@pytest.fixture(scope="session")
def native_migrated(clickhouse_server: ClickHouseServer) -> Iterator[Store]:
    store = Store(NativeTransport(clickhouse_server.url(), timeout_seconds=TIMEOUT_SECONDS))
    migrate(store, at=datetime.now(UTC))
    yield store
    store.close()


@pytest.fixture(params=["chdb", "native"])
def store(request: pytest.FixtureRequest) -> Store:
    """An empty, migrated store. Every test that takes it runs on both transports."""
    store: Store = request.getfixturevalue(f"{request.param}_migrated")
    for table in TABLES:
        store.execute(f"TRUNCATE TABLE {table}")
    return store


@pytest.fixture
def chdb_store(chdb_migrated: Store) -> Store:
    """An empty chDB, for tests that do not depend on the transport."""
    for table in TABLES:
        chdb_migrated.execute(f"TRUNCATE TABLE {table}")
    return chdb_migrated


@pytest.fixture
def schema_copy(tmp_path: Path) -> Path:
    """A copy of the schema's files for the test."""
    folder = tmp_path / "schema"
    folder.mkdir()
    for file in SCHEMA_FOLDER.glob("*.sql"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
