"""Both transports return values of their columns' declared types."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from jatevo.metrics.queries import latency_series, latest_latency
from jatevo.metrics.store import QueryRefused, Store
from tests.metrics.wrappers import NOON, NOON_SECONDS

HOUR_LATER = NOON.replace(hour=13)
UNKNOWN_FLOAT = "CAST(NULL AS Nullable(Float64))"

EXPRESSIONS: list[tuple[str, Any]] = [
    ("toFloat64(310)", 310.0),
    ("toFloat32(310)", 310.0),
    ("toFloat64(0)", 0.0),
    ("toFloat64(-0.5)", -0.5),
    ("toFloat64('1e300')", 1e300),
    ("CAST(toFloat64(310) AS Nullable(Float64))", 310.0),
    ("toFloat64('nan')", None),
    ("toFloat64('inf')", None),
    ("toFloat64('-inf')", None),
    (UNKNOWN_FLOAT, None),
    ("toUInt8(1)", 1),
    ("toInt64('-9223372036854775808')", -(2**63)),
    ("toUInt64('18446744073709551615')", 2**64 - 1),
    ("toUInt64('9007199254740993')", 2**53 + 1),
    ("toDecimal64('1.50', 2)", Decimal("1.50")),
    ("toDate('2026-03-04')", date(2026, 3, 4)),
    ("toDateTime(1772625600, 'UTC')", datetime.fromtimestamp(1772625600, UTC)),
    ("CAST(NULL AS Nullable(DateTime('UTC')))", None),
    ("toUUID('0189d2a4-7c3b-7cc0-8f00-0123456789ab')", "0189d2a4-7c3b-7cc0-8f00-0123456789ab"),
    ("'310'", "310"),
    ("'310.0'", "310.0"),
    ("'null'", "null"),
    ("'NaN'", "NaN"),
    ("'2026-03-04 12:00:00'", "2026-03-04 12:00:00"),
    ("unhex('FF41')", "\ufffdA"),
    ("[toFloat64(310), toFloat64('nan')]", [310.0, None]),
    ("[toUInt64(1), toUInt64(2)]", [1, 2]),
    (f"tuple(toFloat64(310), '310', toUInt8(3), {UNKNOWN_FLOAT})", (310.0, "310", 3, None)),
    ("[tuple('a', toFloat64(1))]", [("a", 1.0)]),
    ("CAST('b' AS Enum8('a, (' = 1, 'b' = 2))", "b"),
]


@pytest.mark.parametrize(("expression", "value"), EXPRESSIONS)
def test_a_value_has_the_type_of_its_column(store: Store, expression: str, value: Any) -> None:
    ((found,),) = store.execute(f"SELECT {expression}")
    assert found == value
    assert _types(found) == _types(value)


def _types(value: Any) -> Any:
    return [type(value), *map(_types, value)] if isinstance(value, list | tuple) else type(value)


def test_whole_figures_among_others_are_floats(store: Store) -> None:
    """JSON has whole milliseconds as integers, next to the floats of other probes."""
    columns = ("ts", "node_id", "region", "probe_id", "p50", "p95", "p99", "tps")
    store.insert(
        "node_latency_minute",
        columns,
        [
            (NOON_SECONDS, "whole", "eu", "a", 100, 200, 300, None),
            (NOON_SECONDS, "broken", "eu", "b", 100.5, 200.25, 300.125, 12),
        ],
    )
    latest = latest_latency(store, None, NOON, HOUR_LATER)
    found = {name: (each.p50_ms, each.p95_ms, each.p99_ms, each.tps) for name, each in latest.items()}
    assert found == {"whole": (100.0, 200.0, 300.0, None), "broken": (100.5, 200.25, 300.125, 12.0)}
    series = latency_series(store, "whole", NOON, HOUR_LATER)[0]
    for point in (*found.values(), (series.p50_ms, series.p95_ms, series.p99_ms)):
        assert all(isinstance(figure, float) for figure in point if figure is not None)


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_stored_as_unknown(store: Store, figure: float) -> None:
    columns = ("ts", "node_id", "region", "probe_id", "p95")
    store.insert("node_latency_minute", columns, [(NOON_SECONDS, "a", "eu", "1", figure)])
    assert store.execute("SELECT p95, isNull(p95) FROM node_latency_minute") == [(None, 1)]


@pytest.mark.parametrize("type_name", ["DateTime", "Nullable(DateTime)"])
def test_no_time_comes_back_without_its_zone(store: Store, type_name: str) -> None:
    with pytest.raises(QueryRefused, match="UTC"):
        store.execute(f"SELECT CAST(0 AS {type_name})")


def test_many_blocks_are_one_answer(store: Store) -> None:
    rows = store.execute("SELECT number, toFloat64(number) FROM numbers(200000)")
    assert len(rows) == 200_000
    assert sorted(rows)[-1] == (199_999, 199_999.0)
    assert all(type(figure) is float for _, figure in rows)
