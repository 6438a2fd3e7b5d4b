"""The tokens of a text of JSON, with the white space between them. Pure.

They keep how a text spells its names, numbers and escapes, which a parser forgets.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jatevo.wire.canonical import SIGNATURE_MEMBER

_PATTERN = re.compile(
    rb"""(?P<space>[ \t\r\n]+)
       | (?P<string>"(?:[^"\\]|\\.)*")
       | (?P<number>-?[0-9][0-9.eE+-]*)
       | (?P<word>true|false|null)
       | (?P<mark>[{}\[\]:,])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    kind: str
    start: int
    text: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens_of(raw: bytes) -> Iterator[Token]:
    """The tokens of a text, white space among them. Ends where the text is no JSON any more."""
    position = 0
    while position < len(raw) and (match := _PATTERN.match(raw, position)):
        yield Token(str(match.lastgroup), position, match.group())
        position = match.end()


def names_member(tokens: Sequence[Token], number: int) -> bool:
    """Whether the token is the name of a member: text before a colon."""
    return tokens[number].kind == "string" and _next_mark(tokens, number) == b":"


def _next_mark(tokens: Sequence[Token], number: int) -> bytes:
    for position in range(number + 1, len(tokens)):
        if tokens[position].kind != "space":
            return tokens[position].text
    return b""


def members_from(tokens: Sequence[Token], number: int) -> set[str]:
    """The names of the members of this object, from that one on."""
    found: set[str] = set()
    depth = 0
    for position in range(number, len(tokens)):
        text = tokens[position].text
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and names_member(tokens, position):
            found.add(json.loads(text))
    return found


def without_signature(raw: bytes) -> bytes:
    """The text of a JSON object without its member `signature`, all others as they are spelled. The object is
    well-formed, and names no member twice.
    """
    tokens = list(tokens_of(raw))
    depth = 0
    for number, token in enumerate(tokens):
        if token.text in (b"{", b"["):
            depth += 1
        elif token.text in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and names_member(tokens, number) and json.loads(token.text) == SIGNATURE_MEMBER:
            return _cut(raw, tokens, number)
    return raw


def _cut(raw: bytes, tokens: Sequence[Token], number: int) -> bytes:
    """The text without the member whose name is that token, as if it had been written without it."""
    depth, end = 0, number
    for end in range(number + 1, len(tokens)):
        text = tokens[end].text
        if depth == 0 and text in (b",", b"}"):
            break
        depth += (text in (b"{", b"[")) - (text in (b"}", b"]"))
    if tokens[end].text == b",":  # up to the next member
        onward = next(token for token in tokens[end + 1 :] if token.kind != "space")
        return raw[: tokens[number].start] + raw[onward.start :]
    before = [token for token in tokens[:number] if token.kind != "space"]
    begin = before[-1].start if before[-1].text == b"," else tokens[number].start
    last = next(token for token in reversed(tokens[:end]) if token.kind != "space")
    return raw[:begin] + raw[last.end :]
