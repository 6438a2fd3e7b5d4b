"""A receipt's JSON, laid out for reading. Pure: bytes in, coloured lines out, which fold.

It reads the bytes as they were received and keeps every member, its order, and every number and string
as it was spelled, so that what is shown is what was signed. One exception: characters that cannot be seen,
or that turn the direction of text, are shown as their JSON escapes, so that they cannot mislead the eye.
Nothing here is HTML: the template escapes.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

INDENT = "  "
# A larger document is offered as a download, and not laid out.
MOST_BYTES = 256 * 1024
MOST_LINES = 5_000
_TOKENS_A_LINE = 5  # at most: a key, a colon, the two brackets of an empty value, a comma
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?[0-9][0-9.eE+-]*)
      | (?P<word>true|false|null)
      | (?P<mark>[{}\[\]:,])""",
    re.VERBOSE,
)


class TokenKind(StrEnum):
    """What a piece of text is; the template colours by it."""

    KEY = "key"
    STRING = "string"
    NUMBER = "number"
    WORD = "word"  # true, false, null
    MARK = "mark"  # brackets, colons, commas, and the space around them


@dataclass(frozen=True)
class Piece:
    kind: TokenKind
    text: str


@dataclass(frozen=True)
class Line:
    """A line, and where it belongs in the folds.

    `folded` is '' or, where a nested object or list opens, what stands for the rest of it while it is folded, up
    to its closing bracket. The line that `closes` the innermost open fold is the last within it.
    """

    pieces: Sequence[Piece]
    folded: str = ""
    closes: bool = False


def pretty(raw: bytes) -> list[Line] | None:
    """The lines of the document, indented by two; None if it is too large. What is no JSON comes back as it is."""
    if len(raw) > MOST_BYTES:
        return None
    text = raw.decode("utf-8", errors="replace")
    try:
        json.loads(text)
        tokens = list(islice(_tokens(text), MOST_LINES * _TOKENS_A_LINE + 1))
    except (ValueError, RecursionError):
        lines = [Line([Piece(TokenKind.STRING, line)]) for line in text.splitlines()] or [Line([])]
    else:
        if len(tokens) > MOST_LINES * _TOKENS_A_LINE:
            return None
        lines = _lay_out(tokens)
    return lines if len(lines) <= MOST_LINES else None


def visible(text: str) -> str:
    """The text with characters that cannot be seen, or that turn its direction, as JSON escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # such as NaN, which json.loads lets pass
            raise ValueError(f"no JSON at character {position}")
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group()
        position = match.end()


def _lay_out(tokens: list[tuple[str, str]]) -> list[Line]:
    lines: list[list[Piece]] = [[]]
    open_at: list[int] = []  # the lines on which the brackets around this token opened
    commas: list[int] = []  # and how many commas each has so far
    folded: dict[int, str] = {}
    closing: set[int] = set()

    def break_line() -> None:
        lines.append([Piece(TokenKind.MARK, INDENT * len(open_at))] if open_at else [])

    for index, (group, text) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        preceding = tokens[index - 1][1] if index else ""
        if group != "mark":
            lines[-1].append(Piece(_kind(group, following), visible(text)))
        elif text in "{[":
            lines[-1].append(Piece(TokenKind.MARK, text))
            open_at.append(len(lines) - 1)
            commas.append(0)
            if following not in ("}", "]"):
                break_line()
        elif text in "}]":
            opened, items = open_at.pop(), commas.pop() + 1
            if preceding not in ("{", "["):
                break_line()
                if open_at:  # the document itself cannot be folded
                    folded[opened] = _in_short(items, text, following)
                    closing.add(len(lines) - 1)
            lines[-1].append(Piece(TokenKind.MARK, text))
        elif text == ",":
            lines[-1].append(Piece(TokenKind.MARK, ","))
            commas[-1] += 1
            break_line()
        else:
            lines[-1].append(Piece(TokenKind.MARK, ": "))
    return [Line(pieces, folded.get(number, ""), number in closing) for number, pieces in enumerate(lines)]


def _in_short(items: int, bracket: str, following: str) -> str:
    """What is shown for the rest of an object or list: '… 3 items ],'."""
    noun = "member" if bracket == "}" else "item"
    return f" … {items:,} {noun}{'s' if items != 1 else ''} {bracket}{',' if following == ',' else ''}"


def _kind(group: str, following: str) -> TokenKind:
    if group == "string":
        return TokenKind.KEY if following == ":" else TokenKind.STRING
    return TokenKind(group)
