"""The statements of the schema on a cluster."""

import re

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from jatevo.metrics.cluster import SHARDED_BY, Cluster, rendered
from jatevo.metrics.migrator import read_files

REPLICATED = Cluster("console", "jatevo")
ALL_STATEMENTS = [statement for file in read_files() for statement in file.statements]


def test_without_a_cluster_every_statement_is_what_the_file_says() -> None:
    assert [each.sql for statement in ALL_STATEMENTS for each in rendered(statement, None)] == ALL_STATEMENTS


def test_a_table_is_replicated_on_its_shard_and_distributed_over_all() -> None:
    (statement,) = [each for each in ALL_STATEMENTS if "EXISTS node_uptime_minute" in each]
    local, distributed = REPLICATED.render(statement)
    assert local.sql == (
        "CREATE TABLE IF NOT EXISTS jatevo.node_uptime_minute_local ON CLUSTER console\n"
        "(\n    ts DateTime('UTC'),\n    node_id String,\n    up UInt8,\n    beats UInt32\n)\n"
        "ENGINE = ReplicatedReplacingMergeTree({path}, {replica}, beats)\n"
        "PARTITION BY toYYYYMMDD(ts)\nORDER BY (node_id, ts) SETTINGS replicated_deduplication_window = 0"
    )
    assert local.params == {
        "path": "/clickhouse/tables/{shard}/jatevo/node_uptime_minute",
        "replica": "{replica}",
    }
    assert distributed.sql == (
        "CREATE TABLE IF NOT EXISTS jatevo.node_uptime_minute ON CLUSTER console AS jatevo.node_uptime_minute_local"
        " ENGINE = Distributed(console, jatevo, node_uptime_minute_local, cityHash64(node_id))"
    )
    assert local.on_each
    assert distributed.on_each


def test_a_view_is_between_the_tables_of_a_shard() -> None:
    (statement,) = [each for each in ALL_STATEMENTS if "requests_hour_feed" in each]
    (view,) = REPLICATED.render(statement)
    head, _, query = view.sql.partition(" AS\n")
    assert head == (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS jatevo.requests_hour_feed ON CLUSTER console"
        " TO jatevo.requests_hour_local"
    )
    assert "FROM jatevo.requests_minute_local\n" in query


def test_a_changed_table_is_distributed_anew() -> None:
    rendered = REPLICATED.render("ALTER TABLE requests_minute ADD COLUMN errors UInt64")
    assert [each.sql.split(" AS ")[0] for each in rendered] == [
        "ALTER TABLE jatevo.requests_minute_local ON CLUSTER console ADD COLUMN errors UInt64",
        "DROP TABLE IF EXISTS jatevo.requests_minute ON CLUSTER console",
        "CREATE TABLE IF NOT EXISTS jatevo.requests_minute ON CLUSTER console",
    ]


def test_every_statement_of_the_schema_can_be_rendered_and_another_is_refused() -> None:
    for statement in ALL_STATEMENTS:
        for each in REPLICATED.render(statement):
            assert ("ON CLUSTER console" in each.sql) == each.on_each
            assert each.on_each == (not statement.startswith("INSERT"))
            assert ("MergeTree" in each.sql) == ("{path}" in each.sql)
    with pytest.raises(ValueError, match="no rule"):
        REPLICATED.render("CREATE TABLE trial (a String) ENGINE = Log")


def test_rows_that_replace_each_other_lie_on_one_shard() -> None:
    """The column of the sharding key is in the sorting key, so rows with the same sorting key share it."""
    for statement in ALL_STATEMENTS:
        found = re.search(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
        if found is None or found[1] == "receipt_search_origin":
            continue
        column = re.findall(r"\w+", SHARDED_BY[found[1]])[-1]
        order = re.search(r"ORDER BY (.*)", statement)
        assert order is not None
        if found[1] == "receipt_search":
            assert order[1] == "(accepted_at, id)"  # a receipt's node never changes
        else:
            assert column in re.findall(r"\w+", order[1]), found[1]


def test_a_cluster_needs_a_server_and_a_name_that_fits_into_statements(settings: Settings) -> None:
    for url, name, refused in (
        ("", "main", True),
        ("clickhouse://ch/j", "a b", True),
        ("clickhouse://ch/j", "a_1", False),
    ):
        settings.CLICKHOUSE_URL, settings.CLICKHOUSE_CLUSTER = url, name
        assert ("metrics.E003" in {found.id for found in run_checks()}) == refused
