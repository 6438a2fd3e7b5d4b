"""What both transports promise: the same types, safe quoting, the same errors."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from jatevo.metrics.quoting import bind, quote
from jatevo.metrics.store import MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.transport import Param
from tests.metrics.wrappers import NOON, NOON_SECONDS

HOSTILE = [
    "it's",
    'double " quotes',
    "back\\slash\\'; DROP TABLE trial; --",
    "semicolon;\n;\n SELECT 1;",
    "line\nend\r\ttab",
    "nul\0inside",
    "{name} %(name)s %s %",
    "é漢🙂\u2028",
    "",
    "\\N",
    "]",
]


@pytest.fixture
def trial(store: Store) -> Iterator[Store]:
    """The store with an empty table of every column type that the schema uses."""
    store.execute("DROP TABLE IF EXISTS trial")
    store.execute(
        "CREATE TABLE trial (name String, at DateTime('UTC'), big UInt64, small UInt8,"
        " figure Nullable(Float64), batch UUID) ENGINE = MergeTree ORDER BY name"
    )
    yield store
    store.execute("DROP TABLE trial")


COLUMNS = ("name", "at", "big", "small", "figure", "batch")
BATCH = UUID("0189d2a4-7c3b-7cc0-8f00-0123456789ab")


def test_rows_come_back_as_the_same_python_values(trial: Store) -> None:
    trial.insert(
        "trial",
        COLUMNS,
        [
            ("a", NOON, 2**64 - 1, True, 1.5, BATCH),
            ("b", NOON_SECONDS, 0, 255, None, str(BATCH)),
            ("c", NOON.astimezone(timezone(timedelta(hours=9))), 1, 0, 2, BATCH),
        ],
    )
    rows = trial.execute("SELECT * FROM trial ORDER BY name")
    assert rows == [
        ("a", NOON, 2**64 - 1, 1, 1.5, str(BATCH)),
        ("b", NOON, 0, 255, None, str(BATCH)),
        ("c", NOON, 1, 0, 2.0, str(BATCH)),
    ]
    assert [type(cell) for cell in rows[0]] == [str, datetime, int, int, float, str]
    assert all(row[1].utcoffset() == timedelta(0) for row in rows)


def test_hostile_text_survives_insert_and_parameters(trial: Store) -> None:
    trial.insert("trial", COLUMNS, [(text, NOON, 0, 0, None, BATCH) for text in HOSTILE])
    assert sorted(name for (name,) in trial.execute("SELECT name FROM trial")) == sorted(HOSTILE)
    for text in HOSTILE:
        assert trial.execute("SELECT count(), {text} FROM trial WHERE name = {text}", {"text": text}) == [
            (1, text)
        ]
    assert trial.execute("SELECT count() FROM trial WHERE name IN {names}", {"names": HOSTILE}) == [
        (len(HOSTILE),)
    ]


def test_parameters_of_every_type_arrive(trial: Store) -> None:
    trial.insert("trial", COLUMNS, [("a", NOON, 7, 1, 0.1, BATCH)])
    params: dict[str, Param] = {
        "at": NOON.replace(microsecond=999_999),
        "big": 7,
        "small": True,
        "figure": 0.1,
        "bigs": [7, 8],
    }
    assert trial.execute(
        "SELECT name FROM trial WHERE at = {at} AND big = {big} AND small = {small} AND figure = {figure}"
        " AND big IN {bigs}",
        params,
    ) == [("a",)]


def test_a_time_is_read_in_utc_whatever_the_server_thinks(trial: Store) -> None:
    trial.insert("trial", COLUMNS, [("a", NOON, 0, 0, None, BATCH)])
    rows = trial.execute("SELECT toUInt32(at), toHour(at), toStartOfHour(at), toYYYYMMDD(at) FROM trial")
    assert rows == [(NOON_SECONDS, 12, NOON, 20260304)]


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(QueryRefused, match="UTC"):
        store.execute("SELECT toDateTime(0)")


def test_nan_is_none(store: Store) -> None:
    assert store.execute("SELECT nan, CAST(NULL AS Nullable(Float64)), 0.5") == [(None, None, 0.5)]


def test_a_statement_without_rows_answers_an_empty_list(trial: Store) -> None:
    assert trial.execute("SELECT * FROM trial") == []
    assert trial.execute("TRUNCATE TABLE trial") == []
    trial.insert("trial", COLUMNS, [])
    assert trial.execute("SELECT count() FROM trial") == [(0,)]


def test_a_large_insert_arrives_whole(trial: Store) -> None:
    rows = [(f"r_{number}'", NOON_SECONDS + number, number, 0, number / 2, BATCH) for number in range(20_000)]
    trial.insert("trial", COLUMNS, rows)
    assert trial.execute("SELECT count(), uniqExact(name), sum(big), sum(figure) FROM trial") == [
        (20_000, 20_000, 199_990_000, 99_995_000.0)
    ]


@pytest.mark.parametrize(
    "row",
    [
        ("a", NOON, -1, 0, None, BATCH),
        ("a", NOON, "many", 0, None, BATCH),
        ("a", NOON, 0, 0, "fast", BATCH),
        ("a", NOON, 0, 0, None, "no uuid"),
        ("a", "yesterday", 0, 0, None, BATCH),
        (None, NOON, 0, 0, None, BATCH),
        ("\ud800", NOON, 0, 0, None, BATCH),
    ],
)
def test_a_bad_row_is_refused_as_such_and_the_store_goes_on(trial: Store, row: tuple[Any, ...]) -> None:
    with pytest.raises(QueryRefused) as refused:
        trial.insert("trial", COLUMNS, [row])
    assert refused.value.about_rows
    assert trial.execute("SELECT count() FROM trial") == [(0,)]


def test_a_wrong_statement_is_refused_and_not_blamed_on_rows(store: Store) -> None:
    for statement in ("SELEC 1", "SELECT no_such_column FROM receipt_facts", "SELECT no_such_function(1)"):
        with pytest.raises(QueryRefused) as refused:
            store.execute(statement)
        assert not refused.value.about_rows


def test_a_missing_table_means_not_migrated_rather_than_a_mistake(store: Store) -> None:
    with pytest.raises(MetricsUnavailable):
        store.execute("SELECT count() FROM no_such_table")
    with pytest.raises(MetricsUnavailable):
        store.insert("no_such_table", ["a"], [(1,)])


def test_names_of_tables_and_columns_cannot_carry_sql(store: Store) -> None:
    with pytest.raises(ValueError, match="not a table"):
        store.insert("trial; DROP", ["a"], [(1,)])
    with pytest.raises(ValueError, match="not a table"):
        store.insert("trial", ["a) VALUES"], [(1,)])


@pytest.mark.parametrize("value", [[], float("nan"), float("inf"), NOON.replace(tzinfo=None), "\ud800"])
def test_what_no_literal_can_say_is_a_value_error(value: Param) -> None:
    with pytest.raises(ValueError):
        quote(value)


@pytest.mark.parametrize("value", [None, b"bytes", {"a": 1}, [[1]], object()])
def test_other_types_are_no_parameters(value: Any) -> None:
    with pytest.raises(TypeError):
        quote(value)


def test_every_parameter_and_placeholder_must_meet() -> None:
    assert bind("a = {a} AND b = {b}", {"a": "{b}", "b": 1}) == "a = '{b}' AND b = 1"
    with pytest.raises(KeyError):
        bind("a = {a}", {})
    with pytest.raises(ValueError, match="does not name: b"):
        bind("a = {a}", {"a": 1, "b": 2})


def test_a_time_parameter_is_its_unix_second() -> None:
    assert quote(datetime(1970, 1, 1, 0, 1, tzinfo=UTC)) == "toDateTime(60)"
