"""A receipt's JSON, laid out for reading. Pure: bytes in, coloured lines out.

It reads the bytes as they were received and keeps every member, its order, and every number and string
as it was spelled, so that what is shown is what was signed. One exception: characters that cannot be seen,
or that turn the direction of text, are shown as their JSON escapes, so that they cannot mislead the eye.
Nothing here is HTML: the template escapes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

INDENT = "  "
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


def pretty(raw: bytes) -> list[list[Piece]]:
    """The lines of the document, indented by two. What is no JSON comes back as it is."""
    text = raw.decode("utf-8", errors="replace")
    try:
        json.loads(text)
        return _lay_out(list(_tokens(text)))
    except (ValueError, RecursionError):
        return [[Piece(TokenKind.STRING, line)] for line in text.splitlines()] or [[]]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # such as NaN, which json.loads lets pass
            raise ValueError(f"no JSON at character {position}")
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group()
        position = match.end()


def _lay_out(tokens: list[tuple[str, str]]) -> list[list[Piece]]:
    lines: list[list[Piece]] = [[]]
    depth = 0

    def break_line() -> None:
        lines.append([Piece(TokenKind.MARK, INDENT * depth)] if depth else [])

    for index, (group, text) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        preceding = tokens[index - 1][1] if index else ""
        if group != "mark":
            lines[-1].append(Piece(_kind(group, following), _visible(text)))
        elif text in "{[":
            lines[-1].append(Piece(TokenKind.MARK, text))
            depth += 1
            if following not in ("}", "]"):
                break_line()
        elif text in "}]":
            depth -= 1
            if preceding not in ("{", "["):
                break_line()
            lines[-1].append(Piece(TokenKind.MARK, text))
        elif text == ",":
            lines[-1].append(Piece(TokenKind.MARK, ","))
            break_line()
        else:
            lines[-1].append(Piece(TokenKind.MARK, ": "))
    return lines


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _kind(group: str, following: str) -> TokenKind:
    if group == "string":
        return TokenKind.KEY if following == ":" else TokenKind.STRING
    return TokenKind(group)
