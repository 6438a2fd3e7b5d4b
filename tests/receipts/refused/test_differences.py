"""Where two texts of a receipt begin to differ, and what is said of it. Nothing is claimed that the texts do not show."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jatevo.wire.canonical import canonicalize
from receipts.refused.differences import (
    CONTEXT_BYTES,
    NEUTRAL,
    ChangedMember,
    Difference,
    changed_members,
    first_difference,
)
from receipts.refused.tokens import without_signature

NAMES = ("the posted receipt", "the canonical form")
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT | st.floats(-1e15, 1e15),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, VALUE, max_size=5)


def against_canonical(raw: bytes) -> Difference | None:
    return first_difference(raw, canonicalize(json.loads(raw)), names=NAMES)


def meaning(raw: bytes) -> str:
    difference = against_canonical(raw)
    assert difference
    return difference.meaning


@pytest.mark.parametrize(
    ("raw", "offset", "said"),
    [
        (b' {"a":1}', 0, "The posted receipt has white space here, the canonical form has none."),
        (b'{"a": 1}', 5, "The posted receipt has white space here, the canonical form has none."),
        (b'{"a":1}\n', 7, "The posted receipt has white space after its end."),
        (
            b'{"b":1,"a":2}',
            2,
            'The members are in another order: here the posted receipt has "b", the canonical form "a".',
        ),
        (
            b'{"a":{"d":1,"c":2}}',
            7,
            'The members are in another order: here the posted receipt has "d", the canonical form "c".',
        ),
        (
            b'{"a":1.0,"b":1}',
            6,
            "A number is spelled differently: the posted receipt has 1.0, the canonical form 1.",
        ),
        (
            b'{"a":1E2}',
            6,
            "A number is spelled differently: the posted receipt has 1E2, the canonical form 100.",
        ),
        (
            rb'{"a":"\u00e9"}',
            6,
            'The same text is written with other escapes: the posted receipt has "\\u00e9", the canonical form "é".',
        ),
        (
            rb'{"\u0061":1}',
            2,
            'The same text is written with other escapes: the posted receipt has "\\u0061", the canonical form "a".',
        ),
    ],
)
def test_what_an_agent_writes_differently_is_named(raw: bytes, offset: int, said: str) -> None:
    difference = against_canonical(raw)
    assert difference
    assert (difference.offset, difference.meaning) == (offset, said)


def test_the_canonical_form_itself_does_not_differ() -> None:
    assert against_canonical(b'{"a":[1,2.5,"x"],"b":{}}') is None


def test_the_bytes_around_the_difference_are_shown_to_the_end() -> None:
    left, right = b"0123456789abcdef0123X" + b"y" * 40, b"0123456789abcdef0123"
    difference = first_difference(left, right, names=NAMES)
    assert difference
    assert difference.offset == 20
    assert (difference.left.before, difference.left.byte) == (b"456789abcdef0123", ord("X"))
    assert difference.left.after == b"y" * CONTEXT_BYTES
    assert (difference.right.byte, difference.right.after) == (None, b"")


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (b'{"a":1}', b'{"a":2}', "A number differs: one has 1, other 2."),
        (b'{"a":"x"}', b'{"a":"y"}', 'A text differs: one has "x", other "y".'),
        (b'{"a":true}', b'{"a":false}', "A value differs: one has true, other false."),
        (b'{"a":1}', b'{"b":1}', 'The members differ: here one has "a", other "b".'),
        (b'{"a":1}', b'{"a":"1"}', NEUTRAL),
        (b"[1]", b"[1,2]", NEUTRAL),
        (b'{"a" :1}', b'{"a"\n:1}', "The white space between tokens differs."),
        # a name further down, in another object, is no sign of another order
        (b'{"a":{"b":1}}', b'{"b":{"a":1}}', 'The members differ: here one has "a", other "b".'),
    ],
)
def test_two_receipts_are_compared_by_what_they_say(left: bytes, right: bytes, said: str) -> None:
    difference = first_difference(left, right, names=("one", "other"))
    assert difference
    assert difference.meaning == said


def test_characters_that_turn_the_text_are_shown_as_escapes() -> None:
    assert "\u202e" not in meaning('{"\u202eb":1,"a":2}'.encode())
    assert "\\u202e" in meaning('{"\u202eb":1,"a":2}'.encode())


def test_long_tokens_are_cut() -> None:
    assert len(meaning(b'{"b' + b"x" * 5000 + b'":1,"a":2}')) < 300


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_have_a_first_difference_unless_they_are_the_same(left: bytes, right: bytes) -> None:
    try:
        difference = first_difference(left, right, names=NAMES)
    except ValueError:  # the meaning is for well-formed texts only
        return
    if difference is None:
        assert left == right
        return
    offset = difference.offset
    assert left[:offset] == right[:offset]
    assert left[offset : offset + 1] != right[offset : offset + 1]
    for text, side in ((left, difference.left), (right, difference.right)):
        shown = side.before + (b"" if side.byte is None else bytes([side.byte])) + side.after
        assert shown == text[max(0, offset - CONTEXT_BYTES) : offset + 1 + CONTEXT_BYTES]


@given(OBJECT, st.booleans(), st.booleans(), st.booleans())
def test_any_other_spelling_of_an_object_is_explained(
    value: dict[str, Any], ascii_only: bool, spaced: bool, turned: bool
) -> None:
    if turned:
        value = dict(reversed(list(value.items())))
    separators = (", ", ": ") if spaced else (",", ":")
    raw = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    difference = against_canonical(raw)
    assert (difference is None) == (raw == canonicalize(value))
    if difference:
        assert difference.meaning != NEUTRAL


@given(OBJECT, st.integers(0, 5), st.sampled_from([None, 2]), TEXT)
def test_the_text_is_as_if_written_without_the_signature(
    value: dict[str, Any], place: int, indent: int | None, text: str
) -> None:
    value.pop("signature", None)
    members = list(value.items())
    members.insert(place, ("signature", [text, {"signature": text}]))
    raw = json.dumps(dict(members), indent=indent).encode()
    if value:  # an empty object is written in one line
        assert without_signature(raw) == json.dumps(value, indent=indent).encode()
    assert json.loads(without_signature(raw)) == value


@pytest.mark.parametrize(
    ("raw", "cut"),
    [
        (b'{"signature":"x"}', b"{}"),
        (b'{ "signature" : "x" , "a":1}', b'{ "a":1}'),
        (b'{"a":1 , "signature":"x" }', b'{"a":1  }'),
        (b'{"a":{"signature":1},"signature":"x","b":2}', b'{"a":{"signature":1},"b":2}'),
        (rb'{"\u0073ignature":"x","b":2}', b'{"b":2}'),
        (b'["signature"]', b'["signature"]'),
    ],
)
def test_each_other_byte_stays(raw: bytes, cut: bytes) -> None:
    assert without_signature(raw) == cut


def test_members_that_differ_are_listed_with_both_values() -> None:
    left = {"a": 1, "b": True, "c": "x", "d": {"x": 1, "y": 2}}
    right = {"a": "1", "b": 1, "d": {"y": 2, "x": 1}, "e": None}
    assert changed_members(left, right) == [
        ChangedMember("a", "1", '"1"'),
        ChangedMember("b", "true", "1"),
        ChangedMember("c", '"x"', None),
        ChangedMember("e", None, "null"),
    ]
