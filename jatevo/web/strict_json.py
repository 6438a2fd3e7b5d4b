"""Strict JSON, as in the contract: text that different parsers could read differently is refused.

orjson already refuses NaN, Infinity, lone surrogates, bad UTF-8 and trailing bytes. It accepts duplicate keys
(the last wins), U+0000, integers up to 2^64, and nesting to 1024. These are checked here. A quick test first
rules them out for most bodies.
"""

import json
import math
from typing import IO, Any

import orjson
from rest_framework.parsers import BaseParser

from jatevo.web.errors import ApiError

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
LOOK_CLOSER = 1 << 40  # added to a count of colons: no text has as many


class InvalidJson(ApiError):
    """The body is not strict JSON (400 `invalid_json`)."""

    def __init__(self, why: str) -> None:
        super().__init__(400, "invalid_json", f"The body is not strict JSON: {why}.")


def parse(body: bytes) -> Any:
    """The value of the body. Raises InvalidJson."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(str(error).split(":")[0]) from error
    colons = _check(value, depth=1)
    # Each colon outside of a string is one member, so a text with duplicates has more colons than the value has members
    # and its strings have colons. With escapes, a string may have one that the text has not.
    if body.count(b":") != colons or b"\\u" in body:
        _read_closely(body)
    if b"\\u0000" in body:
        _refuse_nul(value)
    return value


def parse_object(body: bytes) -> dict[str, Any]:
    """Like `parse`, but the value must be an object. Raises ApiError 422 if it is not."""
    value = parse(body)
    if not isinstance(value, dict):
        raise ApiError(422, "invalid_request", "The body must be a JSON object.")
    return value


class StrictJsonParser(BaseParser):
    """DRF's parser with the same rules."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> dict[str, Any]:
        return parse_object(stream.read())


def _check(value: Any, depth: int) -> int:
    """How many members the value has in all, and colons in its strings. Refuses deep nesting and integers beyond 2^53-1."""
    kind = type(value)
    if kind is dict:
        if depth > MAX_DEPTH:
            raise InvalidJson(f"nested deeper than {MAX_DEPTH}")
        count = len(value)
        for name, inner in value.items():
            count += name.count(":")
            count += inner.count(":") if type(inner) is str else _check(inner, depth + 1)
        return count
    if kind is list:
        if depth > MAX_DEPTH:
            raise InvalidJson(f"nested deeper than {MAX_DEPTH}")
        count = 0
        for inner in value:
            count += inner.count(":") if type(inner) is str else _check(inner, depth + 1)
        return count
    if kind is str:
        return int(value.count(":"))
    if kind is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise InvalidJson("an integer is beyond 2^53-1")
    if kind is float and abs(value) > MAX_INTEGER:
        if not math.isfinite(value):
            raise InvalidJson("a number is beyond what a double can hold")
        return (
            LOOK_CLOSER  # orjson reads integers of more than 64 bits as floats, so the text must be checked
        )
    return 0


def _read_closely(body: bytes) -> None:
    """Checks every pair and every integer as written. The text is already known to be valid JSON."""

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise InvalidJson("an object names a member twice")
        return members

    def no_giants(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
            raise InvalidJson("an integer is beyond 2^53-1")
        return 0

    json.loads(body, object_pairs_hook=no_duplicates, parse_int=no_giants, parse_float=len)


def _refuse_nul(value: Any) -> None:
    match value:
        case str():
            if "\x00" in value:
                raise InvalidJson("a string holds U+0000")
        case dict():
            for name, inner in value.items():
                _refuse_nul(name)
                _refuse_nul(inner)
        case list():
            for inner in value:
                _refuse_nul(inner)
