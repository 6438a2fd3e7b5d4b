"""Canonical bytes: RFC 8785's own examples, and the fast paths compared with the rfc8785 library."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from jatevo.wire import canonical
from jatevo.wire.canonical import NotCanonicalError, canonical_bytes, canonicalize


@pytest.fixture(params=["orjson", "without orjson"], autouse=True, scope="module")
def encoder(request: pytest.FixtureRequest) -> Iterator[None]:
    """The console has orjson, and the agent has not."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "orjson":
            patch.setattr(canonical, "orjson", None)
        yield


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.floats(1e-5, 1e-3)
    | st.floats(1e14, 1e22)
    | st.text(st.characters(exclude_categories=()))
)
KEYS = st.text("abcXYZ_09") | st.text(st.characters(exclude_categories=()), max_size=4)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(JSON_VALUES)
@settings(max_examples=400, deadline=None)
def test_every_value_gets_the_librarys_bytes_or_is_refused_like_there(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except ValueError:
        with pytest.raises(NotCanonicalError):
            canonicalize(value)
    else:
        assert canonicalize(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=400, deadline=None)
def test_a_float_reads_back_as_itself(value: float) -> None:
    assert float(canonicalize(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [  # RFC 8785, appendix B, and the neighbours of the fast path's bounds
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (1e21, "1e+21"),
        (999999999999999900000.0, "999999999999999900000"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (0.00001, "0.00001"),
        (0.0001, "0.0001"),
        (333333333.3333332, "333333333.3333332"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (310.0, "310"),
        (310.25, "310.25"),
    ],
)
def test_numbers_are_written_like_ecmascript(value: float, text: str) -> None:
    assert canonicalize(value) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), [1, {"a": float("inf")}]])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonicalError):
        canonicalize(value)


def test_deep_nesting_is_written_all_the_same() -> None:
    value: Any = 1
    for _ in range(300):  # deeper than orjson goes
        value = [value]
    assert canonicalize(value) == b"[" * 300 + b"1" + b"]" * 300


def test_the_rfcs_example_of_sorting() -> None:
    """RFC 8785 §3.2.3: keys sort by UTF-16 code units, so U+1F600 comes before U+FB33."""
    value = json.loads(
        r'{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",'
        r' "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",'
        r' "\u00f6": "Latin Small Letter O With Diaeresis"}'
    )
    assert list(json.loads(canonicalize(value)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_the_rfcs_example_of_literals() -> None:
    """RFC 8785 §3.2.2."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert canonicalize(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_only_the_top_level_signature_is_left_out() -> None:
    receipt = {"b": {"signature": "inner"}, "signature": "outer", "a": 1}
    assert canonical_bytes(receipt) == b'{"a":1,"b":{"signature":"inner"}}'
    assert receipt["signature"] == "outer"


class Spelled(StrEnum):
    OK = "ok"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        b"x",
        {1, 2},
        nested(100_000),
    ],
    ids=[
        "nan",
        "infinity",
        "2^53",
        "-2^53",
        "surrogate",
        "surrogate key",
        "int key",
        "bytes",
        "set",
        "depth",
    ],
)
def test_what_jcs_cannot_express_is_refused(value: object) -> None:
    with pytest.raises(NotCanonicalError):
        canonicalize(value)


def test_subclasses_are_written_as_the_plain_value() -> None:
    assert canonicalize({"outcome": Spelled.OK, "n": (1, 2)}) == b'{"n":[1,2],"outcome":"ok"}'
