"""The bytes that a receipt's signature covers: RFC 8785 (JCS) without the `signature` member."""

import json
from collections.abc import Mapping
from typing import Any

import rfc8785

SIGNATURE_MEMBER = "signature"
MAX_SAFE_INTEGER = 2**53 - 1

# Python and ECMAScript write the same shortest digits, but below this in different notations (1e-05
# against 0.00001). They differ for large floats too, all of which are integers.
_SMALLEST_ALIKE_FLOAT = 1e-4

_encode_sorted = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


class NotCanonicalError(ValueError):
    """The value has no RFC 8785 form: NaN, an integer beyond 2^53-1, a lone surrogate, a foreign type."""


def canonical_bytes(receipt: Mapping[str, Any]) -> bytes:
    """Return what is signed: the RFC 8785 bytes of `receipt` without its top-level `signature`.

    Raises NotCanonicalError for what JCS cannot express.
    """
    return canonicalize({name: value for name, value in receipt.items() if name != SIGNATURE_MEMBER})


def canonicalize(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value; NotCanonicalError for what JCS cannot express.

    The standard library's encoder, written in C, gives the very same bytes for nearly every receipt at
    a fraction of the time; whatever it might write differently goes to rfc8785.
    """
    try:
        if _stdlib_writes_alike(value):
            return _encode_sorted(value).encode()
        return rfc8785.dumps(value)  # a foreign type is rfc8785's to refuse
    except (ValueError, RecursionError) as error:  # both libraries' errors are ValueErrors
        raise NotCanonicalError(str(error)) from error


def _stdlib_writes_alike(value: object) -> bool:
    """Whether `json` with sorted keys gives the RFC 8785 bytes of `value` for certain.

    Strings agree always: both escape the quote, the backslash and the controls below U+0020, in the
    same short or lower-case forms, and neither encodes a lone surrogate. Keys must be ASCII, because
    JCS sorts by UTF-16 code units and Python by code points. Only exact types count: a subclass may
    print itself as it likes.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if isinstance(value, int):
        return kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER
    if isinstance(value, float):
        # 310.0 is written 310. NaN and infinity, which are no integers either, both libraries refuse.
        return kind is float and abs(value) >= _SMALLEST_ALIKE_FLOAT and not value.is_integer()
    if isinstance(value, list):
        return kind is list and all(map(_stdlib_writes_alike, value))
    if isinstance(value, dict):
        return kind is dict and all(
            type(name) is str and name.isascii() and _stdlib_writes_alike(member)
            for name, member in value.items()
        )
    return False
