"""Where two texts of a receipt begin to differ, and what that means. Pure: bytes in, values out.

A receipt need not be posted in canonical form (RFC 8785), because its signature covers the canonical form of what it
says. The first difference still tells how an agent writes JSON, and a wrong signature is often one over another form.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from receipts.refused.tokens import Token, members_from, names_member, tokens_of
from receipts.viewer import visible

CONTEXT_BYTES: Final = 16
NEUTRAL: Final = "The bytes differ here."


@dataclass(frozen=True)
class Side:
    """The bytes of one text around the difference. `byte` is None at the end of the text."""

    before: bytes
    byte: int | None
    after: bytes


@dataclass(frozen=True)
class Difference:
    """The first difference of two texts. `offset` counts bytes from 0. `meaning` is a sentence."""

    offset: int
    left: Side
    right: Side
    meaning: str


def first_difference(left: bytes, right: bytes, *, names: tuple[str, str]) -> Difference | None:
    """Where two texts of JSON first differ. None if they are the same. `names` are those of the texts in the meaning,
    such as "the canonical form". Both must be well-formed.

    The meaning says more than that only where the texts themselves show it.
    """
    offset = _common_bytes(left, right)
    if offset == len(left) == len(right):
        return None
    return Difference(offset, _side(left, offset), _side(right, offset), _meaning(left, right, names))


@dataclass(frozen=True)
class ChangedMember:
    """A member of two receipts that differs. A side is None if the receipt has no such member, else JSON."""

    name: str
    left: str | None
    right: str | None


def changed_members(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[ChangedMember]:
    """The members in which two receipts differ, by name. Text, numbers and truth values of other types differ."""
    texts = [{name: _spelled(value) for name, value in each.items()} for each in (left, right)]
    return [
        ChangedMember(name, texts[0].get(name), texts[1].get(name))
        for name in sorted(texts[0] | texts[1])
        if texts[0].get(name) != texts[1].get(name)
    ]


def _common_bytes(left: bytes, right: bytes) -> int:
    """How many bytes the texts have in common at their start."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:
        return most
    return next(number for number in range(most) if left[number] != right[number])


def _side(text: bytes, offset: int) -> Side:
    return Side(
        text[max(0, offset - CONTEXT_BYTES) : offset],
        text[offset] if offset < len(text) else None,
        text[offset + 1 : offset + 1 + CONTEXT_BYTES],
    )


def _meaning(left: bytes, right: bytes, names: tuple[str, str]) -> str:
    lefts, rights = list(tokens_of(left)), list(tokens_of(right))
    for number, (one, other) in enumerate(zip(lefts, rights, strict=False)):
        if one.text != other.text:
            return _meaning_of_tokens(lefts, rights, number, names)
    longer = lefts if len(lefts) > len(rights) else rights
    more = longer[min(len(lefts), len(rights)) :]
    if more and all(token.kind == "space" for token in more):
        name = names[0] if longer is lefts else names[1]
        return f"{_capital(name)} has white space after its end."
    return NEUTRAL


def _meaning_of_tokens(
    lefts: Sequence[Token], rights: Sequence[Token], number: int, names: tuple[str, str]
) -> str:
    one, other = lefts[number], rights[number]
    if one.kind == other.kind == "space":
        return "The white space between tokens differs."
    if one.kind == "space" or other.kind == "space":
        spaced, tight = names if one.kind == "space" else (names[1], names[0])
        return f"{_capital(spaced)} has white space here, {tight} has none."
    if one.kind != other.kind:
        return NEUTRAL
    spelled = f"{names[0]} has {_text(one)}, {names[1]} {_text(other)}"
    if one.kind == "number":
        same = json.loads(one.text) == json.loads(other.text)
        return f"{'A number is spelled differently' if same else 'A number differs'}: {spelled}."
    if one.kind == "string":
        if json.loads(one.text) == json.loads(other.text):
            return f"The same text is written with other escapes: {spelled}."
        if names_member(lefts, number) and names_member(rights, number):
            return _meaning_of_members(lefts, rights, number, spelled)
        return f"A text differs: {spelled}."
    return f"A value differs: {spelled}." if one.kind == "word" else NEUTRAL


def _meaning_of_members(lefts: Sequence[Token], rights: Sequence[Token], number: int, spelled: str) -> str:
    """Out of order if each text has a member with the other's name as well, else different members."""
    one, other = (json.loads(tokens[number].text) for tokens in (lefts, rights))
    if other in members_from(lefts, number) and one in members_from(rights, number):
        return f"The members are in another order: here {spelled}."
    return f"The members differ: here {spelled}."


def _text(token: Token) -> str:
    text = visible(token.text.decode(errors="replace"))
    return text if len(text) <= 60 else f"{text[:57]}…"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _spelled(value: object) -> str:
    """A value as JSON, so that 1 and true, or 1 and "1", are told apart."""
    return visible(json.dumps(value, ensure_ascii=False, sort_keys=True))
