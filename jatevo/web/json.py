"""Writing JSON answers."""

import json
from datetime import datetime
from typing import Any

import orjson


def dump(value: Any) -> bytes:
    """JSON bytes: times as RFC 3339 in UTC with a Z, money and other decimals as strings."""
    try:
        return orjson.dumps(value, default=_other, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # jsonb gives 1e300 back as an integer of 301 digits, which orjson does not write
        return json.dumps(value, default=_other, ensure_ascii=False, separators=(",", ":")).encode()


def _other(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if hasattr(value, "__str__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
