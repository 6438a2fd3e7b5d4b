"""The bytes that a receipt's signature covers: RFC 8785 (JCS) without the `signature` member."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import rfc8785

try:
    import orjson
except ImportError:  # the agent does without it: the standard library writes the same, more slowly
    orjson = None  # type: ignore[assignment]

SIGNATURE_MEMBER = "signature"
MAX_SAFE_INTEGER = 2**53 - 1

# Python and ECMAScript write the same shortest digits, but use different notations below this value
# (1e-05 and 0.00001). They also differ for large floats, but those are all integers.
_SMALLEST_ALIKE_FLOAT = 1e-4

_stdlib_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


class NotCanonicalError(ValueError):
    """The value has no RFC 8785 form: NaN, an integer beyond 2^53-1, a lone surrogate or an unknown type."""


def canonical_bytes(receipt: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed: the RFC 8785 form of `receipt` without its top-level `signature`.

    Raises NotCanonicalError if JCS cannot express a value.
    """
    return canonicalize({name: value for name, value in receipt.items() if name != SIGNATURE_MEMBER})


def canonicalize(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value. Raises NotCanonicalError if JCS cannot express it.

    Encoders that are not written in Python give the same bytes for nearly every receipt, in a fraction of the time.
    Values that they might write differently go to rfc8785.
    """
    try:
        if _is_plain(value):
            return _encode_sorted(value)
        return rfc8785.dumps(value)  # refuses unknown types
    except (ValueError, RecursionError) as error:  # both libraries' errors are ValueErrors
        raise NotCanonicalError(str(error)) from error


def _encode_sorted(value: Any) -> bytes:
    """A plain value, with sorted keys."""
    if orjson is not None:
        with suppress(orjson.JSONEncodeError):  # nested deeper than it goes
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return _stdlib_encode(value).encode()


def _is_plain(value: object) -> bool:
    """Whether `json` and orjson with sorted keys are certain to give the RFC 8785 bytes of `value`.

    Strings always agree: all escape the quote, the backslash and the controls below U+0020 in the same
    short or lower-case forms, and none encodes a lone surrogate. Keys must be ASCII, because JCS sorts
    by UTF-16 code units and Python by code points. Types must match exactly, because a subclass may
    print itself differently.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if isinstance(value, int):
        return kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER
    if isinstance(value, float):
        # JCS writes 310.0 as 310. orjson writes NaN and infinity as null, so they must not get there.
        bounded = _SMALLEST_ALIKE_FLOAT <= abs(value) <= MAX_SAFE_INTEGER
        return kind is float and bounded and not value.is_integer()
    if isinstance(value, list):
        return kind is list and all(map(_is_plain, value))
    if isinstance(value, dict):
        return kind is dict and all(
            type(name) is str and name.isascii() and _is_plain(member) for name, member in value.items()
        )
    return False
