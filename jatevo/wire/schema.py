"""The field rules of a receipt (the contract's "Receipts"): its members, their types and their ranges.

The rules apply to a parsed JSON object. They neither read a clock nor verify the signature. A receipt may
have unknown members, which its signature covers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .canonical import MAX_SAFE_INTEGER
from .keys import is_signature_text
from .names import NODE_ID_PATTERN, NODE_ID_RULE, REGION_PATTERN, REGION_RULE, name_problem

VERSION = "1.0"
# It is a segment of a URL, and browsers resolve "." and "..".
REQUEST_ID_PATTERN = r"(?!\.{1,2}\Z)[A-Za-z0-9._:~-]{1,128}"
MAX_TOKENS = 100_000_000
MAX_MILLISECONDS = 86_400_000  # a day
MAX_CHECKPOINTS = 1000
MAX_FUTURE_SECONDS = 300
BLAKE3_PATTERN = r"blake3:[0-9a-f]{64}"
BLAKE3_RULE = "must be blake3: and 64 lower-case hex digits"
MAX_AGE_SECONDS = 7 * 24 * 3600


class RequestOutcome(StrEnum):
    """How the request ended: the optional member `outcome`, an extension of the receipt.

    A receipt without it is for a request that succeeded. `error` means that the node accepted the request
    and could not complete it. The console counts such receipts as failures. `cancelled` means that the
    client ended the request, and the receipt states what was delivered.
    """

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"


class UsageSource(StrEnum):
    """Where the token counts come from: the optional member `usage_source`."""

    RUNTIME = "runtime"
    COUNTED = "counted"  # by the agent


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one member of a receipt, as a message to the sender."""

    field: str
    message: str


def check_fields(payload: Mapping[str, Any], *, now: float) -> list[FieldError]:
    """Return every broken rule in the order of the fields. The list is empty if the receipt is valid.

    `now` is in unix seconds.
    """
    errors = []
    for field, rule in _REQUIRED:
        if field not in payload:
            errors.append(FieldError(field, "is required"))
        elif complaint := rule(payload[field]):
            errors.append(FieldError(field, complaint))
    for field, rule in _OPTIONAL:
        if field in payload and (complaint := rule(payload[field])):
            errors.append(FieldError(field, complaint))
    if complaint := _order_and_age(payload.get("ts_start"), payload.get("ts_end"), now):
        errors.append(FieldError("ts_end", complaint))
    return errors


_Rule = Callable[[Any], str | None]


def _matching(pattern: str, complaint: str) -> _Rule:
    fullmatch = re.compile(pattern, re.ASCII).fullmatch

    def rule(value: Any) -> str | None:
        return None if type(value) is str and fullmatch(value) else complaint

    return rule


def _integer(highest: int) -> _Rule:
    complaint = f"must be an integer from 0 to {highest}"

    def rule(value: Any) -> str | None:
        # The exact type, because True and False are integers in Python.
        return None if type(value) is int and 0 <= value <= highest else complaint

    return rule


def _version(value: Any) -> str | None:
    return None if type(value) is str and value == VERSION else f'must be "{VERSION}"'


def _name(value: Any) -> str | None:
    return name_problem(value) if type(value) is str else "must be text"


def _milliseconds(value: Any) -> str | None:
    # The upper bound also keeps out NaN, infinity and integers that no float can hold.
    if (type(value) is int or type(value) is float) and 0 <= value <= MAX_MILLISECONDS:
        return None
    return f"must be a number of milliseconds from 0 to {MAX_MILLISECONDS}"


def _boolean(value: Any) -> str | None:
    return None if type(value) is bool else "must be true or false"


def _checkpoints(value: Any) -> str | None:
    if type(value) is list and len(value) <= MAX_CHECKPOINTS:
        for item in value:
            if type(item) is not int or not 0 <= item <= MAX_TOKENS:
                break
        else:
            return None
    return f"must be a list of at most {MAX_CHECKPOINTS} integers from 0 to {MAX_TOKENS}"


def _one_of(values: type[StrEnum]) -> _Rule:
    known = frozenset(values)
    complaint = "must be one of " + ", ".join(f'"{value}"' for value in values)

    def rule(value: Any) -> str | None:
        return None if type(value) is str and value in known else complaint

    return rule


def _signature(value: Any) -> str | None:
    if type(value) is str and is_signature_text(value):
        return None
    return "must be ed25519: and the base64 of 64 bytes"


def _order_and_age(ts_start: Any, ts_end: Any, now: float) -> str | None:
    if type(ts_end) is not int:
        return None  # reported by its own rule
    if type(ts_start) is int and ts_end < ts_start:
        return "must not be before ts_start"
    if ts_end > now + MAX_FUTURE_SECONDS:
        return f"must not be more than {MAX_FUTURE_SECONDS} seconds in the future"
    if ts_end < now - MAX_AGE_SECONDS:
        return "must not be more than 7 days in the past"
    return None


_UNIX_SECONDS = _integer(MAX_SAFE_INTEGER)
_TOKENS = _integer(MAX_TOKENS)

_REQUIRED: tuple[tuple[str, _Rule], ...] = (
    ("version", _version),
    (
        "request_id",
        _matching(
            REQUEST_ID_PATTERN,
            "must be 1 to 128 of A-Z a-z 0-9 . _ : ~ - and not be . or ..",
        ),
    ),
    ("node_id", _matching(NODE_ID_PATTERN, NODE_ID_RULE)),
    ("region", _matching(REGION_PATTERN, REGION_RULE)),
    ("ts_start", _UNIX_SECONDS),
    ("ts_end", _UNIX_SECONDS),
    ("model_id", _name),
    ("model_hash", _matching(r"sha256:[0-9a-f]{64}", "must be sha256: and 64 lower-case hex digits")),
    ("prompt_hash", _matching(BLAKE3_PATTERN, BLAKE3_RULE)),
    ("tokens_input", _TOKENS),
    ("tokens_output", _TOKENS),
    ("p95_ms", _milliseconds),
    ("hedged", _boolean),
    ("cache_hit", _boolean),
    ("signature", _signature),
)
_OPTIONAL: tuple[tuple[str, _Rule], ...] = (
    ("s3_checkpoints", _checkpoints),
    ("outcome", _one_of(RequestOutcome)),
    ("finish", _name),
    ("usage_source", _one_of(UsageSource)),
    ("output_hash", _matching(BLAKE3_PATTERN, BLAKE3_RULE)),
)
