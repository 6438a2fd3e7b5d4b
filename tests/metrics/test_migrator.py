"""The schema's files are applied once, in order, and only by servers that support them."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from shutil import copy

import pytest
from django.core.management import call_command

from jatevo.metrics.migrator import SCHEMA_FOLDER, MigrationOutcome, SchemaChanged, migrate, read_files
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.store import QueryRefused, Store
from jatevo.metrics.transport import Param, Row
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.wrappers import NOON, Intercepted, deliver, uptime

TIMEOUT_SECONDS = 2.0


@pytest.fixture
def bare_server(clickhouse_server: ClickHouseServer) -> Iterator[Store]:
    """A store of the real server whose database does not exist yet."""
    store = Store(NativeTransport(clickhouse_server.url("bare"), timeout_seconds=TIMEOUT_SECONDS))
    yield store
    store.execute("DROP DATABASE bare")
    store.close()


def outcomes(store: Store, folder: Path = SCHEMA_FOLDER) -> dict[str, MigrationOutcome]:
    return {step.name: step.outcome for step in migrate(store, at=NOON, folder=folder)}


def test_a_bare_server_gets_everything_and_a_second_run_changes_nothing(bare_server: Store) -> None:
    first = migrate(bare_server, at=NOON)
    skipped = [step for step in first if step.outcome is MigrationOutcome.SKIPPED]
    assert {step.outcome for step in first} == {MigrationOutcome.APPLIED, MigrationOutcome.SKIPPED}
    assert [step.name for step in skipped] == [
        "0005_codecs",
        "0015_receipt_search_dictionaries",
        "0017_receipt_search_of_node_dictionaries",
        "0021_receipt_search_plain",
        "0023_receipt_search_start_before",
    ]
    assert all(re.match(r"needs ClickHouse (21\.8|22\.3), this is 18\.16", step.detail) for step in skipped)
    second = migrate(bare_server, at=NOON)
    assert {step.outcome for step in second if step not in skipped} == {MigrationOutcome.ALREADY_APPLIED}
    tables = bare_server.execute(
        "SELECT name, engine FROM system.tables WHERE database = 'bare' AND NOT name LIKE '.%' ORDER BY name"
    )
    assert tables == [
        ("node_first_minute", "AggregatingMergeTree"),
        ("node_first_minute_feed", "MaterializedView"),
        ("node_latency_hour", "AggregatingMergeTree"),
        ("node_latency_hour_feed", "MaterializedView"),
        ("node_latency_minute", "ReplacingMergeTree"),
        ("node_uptime_hour", "AggregatingMergeTree"),
        ("node_uptime_hour_feed", "MaterializedView"),
        ("node_uptime_minute", "ReplacingMergeTree"),
        ("receipt_facts", "ReplacingMergeTree"),
        ("receipt_search", "ReplacingMergeTree"),
        ("receipt_search_of_node", "ReplacingMergeTree"),
        ("receipt_search_of_node_feed", "MaterializedView"),
        ("receipt_search_origin", "ReplacingMergeTree"),
        ("requests_hour", "ReplacingMergeTree"),
        ("requests_hour_feed", "MaterializedView"),
        ("requests_minute", "ReplacingMergeTree"),
        ("schema_migrations", "ReplacingMergeTree"),
    ]
    assert bare_server.execute("SELECT DISTINCT applied_at FROM schema_migrations") == [(NOON,)]


def test_parts_from_before_a_column_are_searched_by_it(bare_server: Store, tmp_path: Path) -> None:
    before = tmp_path / "schema"
    before.mkdir()
    for file in SCHEMA_FOLDER.glob("*.sql"):
        if int(file.name[:4]) < 22:
            copy(file, before)
    migrate(bare_server, at=NOON, folder=before)
    for number, request_id in enumerate(("r_00a", "r_00", "r_01", "r_0", "€")):
        bare_server.execute(
            "INSERT INTO receipt_search (accepted_at, id, request_id) SELECT {at}, {id}, {request_id}",
            {"at": NOON, "id": number, "request_id": request_id},
        )
    migrate(bare_server, at=NOON)
    first, last = (int.from_bytes(b"r_00" + filler * 4, "big") for filler in (b"\0", b"\xff"))
    found = bare_server.execute(
        "SELECT request_id, count() FROM receipt_search FINAL PREWHERE request_start >= {first} AND"
        " request_start <= {last} AND accepted_at <= {at} GROUP BY request_id ORDER BY request_id",
        {"first": first, "last": last, "at": NOON},
    )
    assert found == [("r_00", 1), ("r_00a", 1)]


def test_chdb_has_everything_codecs_included(chdb_store: Store) -> None:
    assert set(outcomes(chdb_store).values()) == {MigrationOutcome.ALREADY_APPLIED}
    assert chdb_store.execute(
        "SELECT compression_codec FROM system.columns"
        " WHERE database = currentDatabase() AND table = 'node_uptime_minute' AND name = 'ts'"
    ) == [("CODEC(DoubleDelta, ZSTD(1))",)]


def test_a_file_that_was_cut_short_is_run_again(bare_server: Store, schema_copy: Path) -> None:
    migrate(bare_server, at=NOON, folder=schema_copy)
    added = schema_copy / "9001_trial.sql"
    first_half = "CREATE TABLE IF NOT EXISTS trial (a String) ENGINE = MergeTree ORDER BY a;\n"
    added.write_text(first_half + "SELECT no_such_function(1);\n")
    with pytest.raises(Exception, match="no_such_function"):
        migrate(bare_server, at=NOON, folder=schema_copy)
    added.write_text(first_half + "INSERT INTO trial SELECT 'x';\n")
    assert outcomes(bare_server, schema_copy)["9001_trial"] is MigrationOutcome.APPLIED
    assert bare_server.execute("SELECT a FROM trial") == [("x",)]


def test_a_column_that_is_there_already_counts_as_added(bare_server: Store, schema_copy: Path) -> None:
    migrate(bare_server, at=NOON, folder=schema_copy)
    # as after a crash between the statement and the note that it was run
    (schema_copy / "9001_again.sql").write_text("ALTER TABLE requests_minute ADD COLUMN errors UInt64;\n")
    assert outcomes(bare_server, schema_copy)["9001_again"] is MigrationOutcome.APPLIED
    (schema_copy / "9002_wrong.sql").write_text("ALTER TABLE requests_minute ADD COLUMN x NoSuchType;\n")
    with pytest.raises(QueryRefused, match="NoSuchType"):
        migrate(bare_server, at=NOON, folder=schema_copy)


def test_two_processes_may_migrate_at_once(bare_server: Store, schema_copy: Path) -> None:
    (schema_copy / "9001_column.sql").write_text("ALTER TABLE requests_minute ADD COLUMN extra UInt64;\n")

    class Overtaken(Intercepted):
        """Another process adds the column between the check and the statement."""

        def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
            if "ADD COLUMN extra" in sql:
                bare_server.execute(sql)
            return super().execute(sql, params)

    steps = migrate(Overtaken(bare_server), at=NOON, folder=schema_copy)
    assert {step.name: step.outcome for step in steps}["9001_column"] is MigrationOutcome.APPLIED


@pytest.mark.parametrize("store", ["chdb", "native"], indirect=True)
def test_a_file_for_each_partition_is_run_for_each_and_says_so(store: Store, schema_copy: Path) -> None:
    deliver(store, *[uptime(NOON + timedelta(days=day)) for day in range(3)])
    store.execute("DROP TABLE IF EXISTS trial")
    file = schema_copy / "9001_trial.sql"
    file.write_text("CREATE TABLE trial (day UInt32) ENGINE = MergeTree ORDER BY day;\n")
    migrate(store, at=NOON, folder=schema_copy)
    (schema_copy / "9002_each.sql").write_text(
        "-- for each partition of: node_uptime_minute\nINSERT INTO trial SELECT {partition};\n"
    )
    try:
        steps = {step.name: step for step in migrate(store, at=NOON, folder=schema_copy)}
        assert steps["9002_each"].detail == "3 partitions of node_uptime_minute"
        assert store.execute("SELECT day FROM trial ORDER BY day") == [(20260304,), (20260305,), (20260306,)]
    finally:
        store.execute("DROP TABLE trial")
        store.execute("CREATE TABLE kept AS schema_migrations")
        store.execute("INSERT INTO kept SELECT * FROM schema_migrations WHERE version < 9000")
        store.execute("TRUNCATE TABLE schema_migrations")
        store.execute("INSERT INTO schema_migrations SELECT * FROM kept")
        store.execute("DROP TABLE kept")


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
