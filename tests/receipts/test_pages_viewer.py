"""The JSON viewer: what is shown is what was signed, laid out."""

import json
import re
from html import unescape

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from receipts.viewer import MOST_BYTES, MOST_LINES, Line, TokenKind, pretty

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def lines_of(raw: bytes) -> list[Line]:
    lines = pretty(raw)
    assert lines is not None
    return lines


def text_of(lines: list[Line]) -> str:
    return "\n".join("".join(piece.text for piece in line.pieces) for line in lines)


def kinds_of(lines: list[Line]) -> dict[str, TokenKind]:
    return {piece.text: piece.kind for line in lines for piece in line.pieces}


@given(VALUES)
def test_the_shown_text_is_the_same_document(value: object) -> None:
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=3)):
        assert json.loads(text_of(lines_of(raw.encode("utf-8", "surrogatepass")))) == value


def test_members_stand_a_line_each_in_their_own_order_and_spelling() -> None:
    raw = b'{"b": 1e3, "a" :[1.0,2],"empty":{}, "none":[], "s":"\\u00e9"}'
    assert text_of(lines_of(raw)) == "\n".join(
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
    kinds = kinds_of(lines_of(b'{"key": "string", "n": -1.5, "w": true, "nothing": null}'))
    assert kinds['"key"'] is TokenKind.KEY
    assert kinds['"string"'] is TokenKind.STRING
    assert kinds["-1.5"] is TokenKind.NUMBER
    assert kinds["true"] is kinds["null"] is TokenKind.WORD


def test_a_brace_within_a_string_is_text() -> None:
    assert text_of(lines_of(b'{"a": "{[,:]}\\""}')) == '{\n  "a": "{[,:]}\\""\n}'


def test_invisible_and_direction_turning_characters_are_shown_as_escapes() -> None:
    shown = text_of(lines_of('{"a": "x\u202ey\u200bz"}'.encode()))
    assert shown == '{\n  "a": "x\\u202ey\\u200bz"\n}'


@pytest.mark.parametrize("raw", [b"", b"not json", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a": 1'])
def test_bytes_that_are_no_json_come_back_as_they_are(raw: bytes) -> None:
    assert text_of(lines_of(raw)) == "\n".join(raw.decode("utf-8", errors="replace").splitlines())


def folded_text(lines: list[Line]) -> str:
    """The text with every fold closed."""
    shown, depth = [], 0
    for line in lines:
        if not depth:
            shown.append(text_of([line]) + line.folded)
        depth += bool(line.folded)
        depth -= line.closes
        assert depth >= 0
    assert depth == 0
    return "\n".join(shown)


def test_nested_values_fold_to_a_line_each_with_their_bracket_and_number() -> None:
    raw = b'{"list": [1, {"a": []}, [2]], "one": {"b": 1}, "none": [], "empty": {}, "last": [3]}'
    assert folded_text(lines_of(raw)) == "\n".join(
        [
            "{",
            '  "list": [ … 3 items ],',
            '  "one": { … 1 member },',
            '  "none": [],',
            '  "empty": {},',
            '  "last": [ … 1 item ]',
            "}",
        ]
    )


@given(VALUES)
def test_every_fold_closes_and_the_document_itself_does_not_fold(value: object) -> None:
    lines = lines_of(json.dumps(value).encode())
    folded_text(lines)
    assert not lines[0].folded
    assert sum(bool(line.folded) for line in lines) == sum(line.closes for line in lines)


def test_the_template_keeps_the_text_exactly() -> None:
    lines = lines_of(b'{"a": [1, {"b": "<&>"}], "c": {"d": [[]]}, "e": [[3], [4]]}')
    html = render_to_string("receipts/json.html", {"lines": lines, "id": "receipt-json"})
    text = unescape(re.sub(r"<[^>]*>", "", html))
    assert text == text_of(lines) + "\n"  # the template ends with a newline, outside of the element
    assert html.count("<details open>") == html.count("</details>") == 7
    assert html.count("</div>") == html.count("<div")


def test_what_is_too_large_is_not_laid_out() -> None:
    fits = b'{"a": "' + b"x" * (MOST_BYTES - 9) + b'"}'
    assert len(fits) == MOST_BYTES
    assert len(lines_of(fits)) == 3
    assert pretty(fits + b" ") is None
    assert len(lines_of(json.dumps([0] * (MOST_LINES - 2)).encode())) == MOST_LINES
    too_long: list[list[object]] = [[0] * (MOST_LINES - 1), [{"a": []}] * (MOST_BYTES // 12)]
    for longer in too_long:
        assert pretty(json.dumps(longer).encode()) is None
    assert pretty(b"no JSON\n" * (MOST_LINES + 1)) is None
