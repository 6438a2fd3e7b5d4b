"""The field rules of a receipt (the contract's "Receipts"): its members, their types and their ranges.

The rules apply to a parsed JSON object. They neither read a clock nor verify the signature. A receipt may
have unknown members, which its signature covers.

Each rule comes with its JSON Schema, from the same bounds and patterns. `json_schema` publishes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from .canonical import MAX_SAFE_INTEGER
from .keys import is_signature_text
from .names import (
    MAX_NAME_CHARACTERS,
    NODE_ID_PATTERN,
    NODE_ID_RULE,
    REGION_PATTERN,
    REGION_RULE,
    name_problem,
)
from .text_enum import TextEnum

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


class RequestOutcome(TextEnum):
    """How the request ended: the optional member `outcome`, an extension of the receipt.

    A receipt without it is for a request that succeeded. `error` means that the node accepted the request
    and could not complete it. The console counts such receipts as failures. `cancelled` means that the
    client ended the request, and the receipt states what was delivered.
    """

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"


class UsageSource(TextEnum):
    """Where the token counts come from: the optional member `usage_source`."""

    RUNTIME = "runtime"
    COUNTED = "counted"  # by the agent


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one member of a receipt, as a message to the sender."""

    field: str
    message: str


def check_fields(payload: Mapping[str, Any], *, now: float) -> list[FieldError]:
    """Return every broken rule in the order of the fields. The list is empty if the receipt is valid.

    `now` is in unix seconds.
    """
    errors = []
    for field, check in _REQUIRED_CHECKS:
        if field not in payload:
            errors.append(FieldError(field, "is required"))
        elif complaint := check(payload[field]):
            errors.append(FieldError(field, complaint))
    for field, check in _OPTIONAL_CHECKS:
        if field in payload and (complaint := check(payload[field])):
            errors.append(FieldError(field, complaint))
    if complaint := _order_and_age(payload.get("ts_start"), payload.get("ts_end"), now):
        errors.append(FieldError("ts_end", complaint))
    return errors


def json_schema() -> dict[str, Any]:
    """The same rules as a JSON Schema (2020-12), with the meaning of each member.

    Whatever `check_fields` accepts is valid under it. A valid receipt can still be refused for what no schema
    says: the order and age of its times, integers written as 1.0, and names with invisible characters.
    """
    members = {**_REQUIRED, **_OPTIONAL}
    return {
        "title": "Receipt",
        "type": "object",
        "description": "Other members are kept, and covered by the signature.",
        "required": list(_REQUIRED),
        "properties": {name: {**rule.schema, "description": rule.meaning} for name, rule in members.items()},
    }


_Check = Callable[[Any], Optional[str]]


class _Rule(NamedTuple):
    """What a member must be: as a function that complains, and as a JSON Schema."""

    check: _Check
    schema: dict[str, Any]
    meaning: str = ""


def _matching(pattern: str, complaint: str) -> _Rule:
    fullmatch = re.compile(pattern, re.ASCII).fullmatch

    def check(value: Any) -> str | None:
        return None if type(value) is str and fullmatch(value) else complaint

    return _Rule(check, {"type": "string", "pattern": f"^{_in_ecmascript(pattern)}$"})


def _in_ecmascript(pattern: str) -> str:
    """The pattern in the syntax of JSON Schema, where $ is the end of the text and nothing else."""
    return pattern.replace(r"\Z", "$")


def _integer(highest: int) -> _Rule:
    complaint = f"must be an integer from 0 to {highest}"

    def check(value: Any) -> str | None:
        # The exact type, because True and False are integers in Python.
        return None if type(value) is int and 0 <= value <= highest else complaint

    return _Rule(check, {"type": "integer", "minimum": 0, "maximum": highest})


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


def _one_of(values: type[TextEnum]) -> _Rule:
    known = frozenset(values)
    complaint = "must be one of " + ", ".join(f'"{value}"' for value in values)

    def check(value: Any) -> str | None:
        return None if type(value) is str and value in known else complaint

    return _Rule(check, {"type": "string", "enum": [value.value for value in values]})


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
_BOOLEAN = _Rule(_boolean, {"type": "boolean"})
_BLAKE3 = _matching(BLAKE3_PATTERN, BLAKE3_RULE)
_NAME = _Rule(_name, {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS})


def _meaning(rule: _Rule, meaning: str) -> _Rule:
    return rule._replace(meaning=meaning)


_REQUIRED: dict[str, _Rule] = {
    "version": _Rule(_version, {"type": "string", "enum": [VERSION]}, "of this format"),
    "request_id": _meaning(
        _matching(REQUEST_ID_PATTERN, "must be 1 to 128 of A-Z a-z 0-9 . _ : ~ - and not be . or .."),
        "the request, by the gateway's id for it",
    ),
    "node_id": _meaning(_matching(NODE_ID_PATTERN, NODE_ID_RULE), "the node that served it and signs"),
    "region": _meaning(_matching(REGION_PATTERN, REGION_RULE), "the node's region"),
    "ts_start": _meaning(_UNIX_SECONDS, "when the request began, in unix seconds"),
    "ts_end": _meaning(_UNIX_SECONDS, "when it ended, in unix seconds"),
    "model_id": _meaning(_NAME, "the model, as the runtime names it"),
    "model_hash": _meaning(
        _matching(r"sha256:[0-9a-f]{64}", "must be sha256: and 64 lower-case hex digits"),
        "which version of the model: the runtime's digest where it has one",
    ),
    "prompt_hash": _meaning(_BLAKE3, "of the request; the prompt itself is in no receipt"),
    "tokens_input": _meaning(_TOKENS, "tokens read"),
    "tokens_output": _meaning(_TOKENS, "tokens written and delivered"),
    "p95_ms": _Rule(
        _milliseconds,
        {"type": "number", "minimum": 0, "maximum": MAX_MILLISECONDS},
        "the node's 95th percentile of latency, in milliseconds",
    ),
    "hedged": _meaning(_BOOLEAN, "whether the request went to several nodes at once"),
    "cache_hit": _meaning(_BOOLEAN, "whether the runtime had the prompt's prefix in its cache"),
    "signature": _Rule(
        _signature,
        {"type": "string", "pattern": "^ed25519:[A-Za-z0-9+/]{85}[AQgw]==$"},
        "ed25519 over the RFC 8785 bytes of everything else",
    ),
}
_OPTIONAL: dict[str, _Rule] = {
    "s3_checkpoints": _Rule(
        _checkpoints,
        {"type": "array", "items": _TOKENS.schema, "maxItems": MAX_CHECKPOINTS},
        "output tokens at which the node stored its state",
    ),
    "outcome": _meaning(_one_of(RequestOutcome), "how the request ended; `ok` without it"),
    "finish": _meaning(_NAME, "the runtime's reason for the end, such as `stop` or `length`"),
    "usage_source": _meaning(
        _one_of(UsageSource), "whether the runtime reported the tokens, or the agent counted them"
    ),
    "output_hash": _meaning(_BLAKE3, "of the delivered text"),
}
REQUIRED_MEMBERS = tuple(_REQUIRED)
OPTIONAL_MEMBERS = tuple(_OPTIONAL)
_REQUIRED_CHECKS = tuple((name, rule.check) for name, rule in _REQUIRED.items())
_OPTIONAL_CHECKS = tuple((name, rule.check) for name, rule in _OPTIONAL.items())
