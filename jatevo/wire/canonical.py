"""The bytes that a receipt's signature covers: RFC 8785 (JCS) without the `signature` member."""

import json
from collections.abc import Mapping
from typing import Any

import rfc8785

SIGNATURE_MEMBER = "signature"
MAX_SAFE_INTEGER = 2**53 - 1

# Python and ECMAScript write the same shortest digits, but use different notations below this value
# (1e-05 and 0.00001). They also differ for large floats, but those are all integers.
_SMALLEST_ALIKE_FLOAT = 1e-4

_encode_sorted = json.JSONEncoder(
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

    The standard library's encoder is written in C. For nearly every receipt it gives the same bytes in a
    fraction of the time. Values that it might write differently go to rfc8785.
    """
    try:
        if _stdlib_writes_alike(value):
            return _encode_sorted(value).encode()
        return rfc8785.dumps(value)  # refuses unknown types
    except (ValueError, RecursionError) as error:  # both libraries' errors are ValueErrors
        raise NotCanonicalError(str(error)) from error


def _stdlib_writes_alike(value: object) -> bool:
    """Whether `json` with sorted keys is certain to give the RFC 8785 bytes of `value`.

    Strings always agree: both escape the quote, the backslash and the controls below U+0020 in the same
    short or lower-case forms, and neither encodes a lone surrogate. Keys must be ASCII, because JCS sorts
    by UTF-16 code units and Python by code points. Types must match exactly, because a subclass may
    print itself differently.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if isinstance(value, int):
        return kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER
    if isinstance(value, float):
        # JCS writes 310.0 as 310. Both libraries refuse NaN and infinity, which are not integers either.
        return kind is float and abs(value) >= _SMALLEST_ALIKE_FLOAT and not value.is_integer()
    if isinstance(value, list):
        return kind is list and all(map(_stdlib_writes_alike, value))
    if isinstance(value, dict):
        return kind is dict and all(
            type(name) is str and name.isascii() and _stdlib_writes_alike(member)
            for name, member in value.items()
        )
    return False
