"""Writing JSON answers."""

from decimal import Decimal
from typing import Any

import orjson


def dump(value: Any) -> bytes:
    """JSON bytes: times as RFC 3339 in UTC with a Z, money and other decimals as strings."""
    return orjson.dumps(value, default=_other, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if hasattr(value, "__str__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
