"""The schema's files are applied once, in order, and only where the server can take them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from jatevo.metrics.migrator import SCHEMA_FOLDER, Outcome, SchemaChanged, migrate, read_files
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.store import Store
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.wrappers import NOON

TIMEOUT_SECONDS = 2.0


@pytest.fixture
def bare_server(clickhouse_server: ClickHouseServer) -> Iterator[Store]:
    """A store of the real server whose database does not exist yet."""
    store = Store(NativeTransport(clickhouse_server.url("bare"), timeout_seconds=TIMEOUT_SECONDS))
    yield store
    store.execute("DROP DATABASE bare")
    store.close()


def outcomes(store: Store, folder: Path = SCHEMA_FOLDER) -> dict[str, Outcome]:
    return {step.name: step.outcome for step in migrate(store, at=NOON, folder=folder)}


def test_a_bare_server_gets_everything_and_a_second_run_changes_nothing(bare_server: Store) -> None:
    first = migrate(bare_server, at=NOON)
    assert [step.outcome for step in first] == [Outcome.APPLIED] * 4 + [Outcome.SKIPPED]
    assert first[-1].detail.startswith("needs ClickHouse 21.8, this is 18.16")
    assert [step.outcome for step in migrate(bare_server, at=NOON)] == (
        [Outcome.ALREADY_APPLIED] * 4 + [Outcome.SKIPPED]
    )
    tables = bare_server.execute("SELECT name FROM system.tables WHERE database = 'bare' ORDER BY name")
    assert [name for (name,) in tables] == [
        "node_latency_minute",
        "node_uptime_minute",
        "receipt_facts",
        "requests_minute",
        "schema_migrations",
    ]
    assert bare_server.execute("SELECT DISTINCT applied_at FROM schema_migrations") == [(NOON,)]


def test_chdb_has_everything_codecs_included(chdb_store: Store) -> None:
    assert set(outcomes(chdb_store).values()) == {Outcome.ALREADY_APPLIED}
    assert chdb_store.execute(
        "SELECT compression_codec FROM system.columns"
        " WHERE database = currentDatabase() AND table = 'node_uptime_minute' AND name = 'ts'"
    ) == [("CODEC(DoubleDelta, ZSTD(1))",)]


def test_a_file_that_was_cut_short_is_run_again(bare_server: Store, schema_copy: Path) -> None:
    migrate(bare_server, at=NOON, folder=schema_copy)
    added = schema_copy / "0006_trial.sql"
    first_half = "CREATE TABLE IF NOT EXISTS trial (a String) ENGINE = MergeTree ORDER BY a;\n"
    added.write_text(first_half + "SELECT no_such_function(1);\n")
    with pytest.raises(Exception, match="no_such_function"):
        migrate(bare_server, at=NOON, folder=schema_copy)
    added.write_text(first_half + "INSERT INTO trial SELECT 'x';\n")
    assert outcomes(bare_server, schema_copy)["0006_trial"] is Outcome.APPLIED
    assert bare_server.execute("SELECT a FROM trial") == [("x",)]


def test_an_edited_file_is_refused(bare_server: Store, schema_copy: Path) -> None:
    migrate(bare_server, at=NOON, folder=schema_copy)
    file = schema_copy / "0002_requests_minute.sql"
    file.write_text(file.read_text().replace("UInt64", "UInt32"))
    with pytest.raises(SchemaChanged, match="0002_requests_minute"):
        migrate(bare_server, at=NOON, folder=schema_copy)


def test_a_number_used_twice_and_an_odd_name_are_refused(schema_copy: Path) -> None:
    (schema_copy / "0002_again.sql").write_text("SELECT 1;")
    with pytest.raises(ValueError, match="same number"):
        read_files(schema_copy)
    (schema_copy / "0002_again.sql").rename(schema_copy / "again.sql")
    with pytest.raises(ValueError, match=r"again\.sql"):
        read_files(schema_copy)


def test_base_files_use_nothing_that_old_servers_lack() -> None:
    modern = ("CODEC", "TTL", "DateTime64", "toStartOfInterval", "LowCardinality")
    for file in read_files():
        if not file.requires:
            assert not [word for word in modern if any(word in statement for statement in file.statements)]


def test_the_command_says_what_it_did(chdb_store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("metrics_migrate")
    assert "0001_receipt_facts: already applied" in capsys.readouterr().out
