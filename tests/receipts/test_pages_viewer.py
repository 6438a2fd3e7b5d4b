"""The JSON viewer: what is shown is what was signed, laid out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipts.viewer import Piece, TokenKind, pretty

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def text_of(lines: list[list[Piece]]) -> str:
    return "\n".join("".join(piece.text for piece in line) for line in lines)


def kinds_of(lines: list[list[Piece]]) -> dict[str, TokenKind]:
    return {piece.text: piece.kind for line in lines for piece in line}


@given(VALUES)
def test_the_shown_text_is_the_same_document(value: object) -> None:
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=3)):
        assert json.loads(text_of(pretty(raw.encode("utf-8", "surrogatepass")))) == value


def test_members_stand_a_line_each_in_their_own_order_and_spelling() -> None:
    raw = b'{"b": 1e3, "a" :[1.0,2],"empty":{}, "none":[], "s":"\\u00e9"}'
    assert text_of(pretty(raw)) == "\n".join(
        [
            "{",
            '  "b": 1e3,',
            '  "a": [',
            "    1.0,",
            "    2",
            "  ],",
            '  "empty": {},',
            '  "none": [],',
            '  "s": "\\u00e9"',
            "}",
        ]
    )


def test_keys_strings_numbers_and_words_are_told_apart() -> None:
    kinds = kinds_of(pretty(b'{"key": "string", "n": -1.5, "w": true, "nothing": null}'))
    assert kinds['"key"'] is TokenKind.KEY
    assert kinds['"string"'] is TokenKind.STRING
    assert kinds["-1.5"] is TokenKind.NUMBER
    assert kinds["true"] is kinds["null"] is TokenKind.WORD


def test_a_brace_within_a_string_is_text() -> None:
    assert text_of(pretty(b'{"a": "{[,:]}\\""}')) == '{\n  "a": "{[,:]}\\""\n}'


def test_invisible_and_direction_turning_characters_are_shown_as_escapes() -> None:
    shown = text_of(pretty('{"a": "x\u202ey\u200bz"}'.encode()))
    assert shown == '{\n  "a": "x\\u202ey\\u200bz"\n}'


@pytest.mark.parametrize("raw", [b"", b"not json", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a": 1'])
def test_bytes_that_are_no_json_come_back_as_they_are(raw: bytes) -> None:
    assert text_of(pretty(raw)) == "\n".join(raw.decode("utf-8", errors="replace").splitlines())
