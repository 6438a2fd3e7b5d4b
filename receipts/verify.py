"""Verifying a stored receipt again from its exact bytes, step by step."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jatevo.web.strict_json import InvalidJson, parse
from jatevo.wire import schema, signing
from jatevo.wire.canonical import NotCanonicalError, canonical_bytes
from jatevo.wire.keys import public_key_text
from nodes.models import NodeKey
from receipts.judging import CLOCK_GRACE_SECONDS
from receipts.models import Receipt

MOST_CHARACTERS = 200  # of a value from the receipt, in what was compared


class Compared(NamedTuple):
    """Something that a check looked at, for people to read."""

    what: str
    value: str


@dataclass(frozen=True)
class Check:
    """One step, its result in words, and what it compared."""

    name: str
    ok: bool
    detail: str
    compared: Sequence[Compared] = ()


@dataclass(frozen=True)
class Verification:
    """The result of all checks. Valid if every check passed."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        return bool(self.checks) and all(check.ok for check in self.checks)


def verify(receipt: Receipt) -> Verification:
    """Runs all checks on a receipt now, without stored results."""
    raw = bytes(receipt.raw)
    checks = [_bytes_check(receipt, raw)]
    size = Compared("Read", f"{len(raw):,} bytes")
    try:
        payload = parse(raw)
    except InvalidJson as error:
        return Verification((*checks, Check("json", False, error.message, [size])))
    if not isinstance(payload, dict):
        return Verification((*checks, Check("json", False, "not an object", [size])))
    members = Compared("Members", f"{len(payload):,}")
    checks += [
        Check("json", True, "valid JSON without duplicate keys", [size, members]),
        _fields_check(receipt, payload),
        _node_check(receipt, payload),
        _record_check(receipt, payload),
        _key_check(receipt),
        _signature_check(receipt, payload),
    ]
    return Verification(tuple(checks))


def _bytes_check(receipt: Receipt, raw: bytes) -> Check:
    identity = receipt.identity
    computed, with_receipt = hashlib.sha256(raw).digest(), bytes(receipt.sha256)
    with_identity = bytes(identity.sha256) if identity is not None else None
    ok = computed == with_receipt == with_identity
    return Check(
        "bytes",
        ok,
        f"the SHA-256 {'is' if ok else 'differs from'} the one recorded on acceptance",
        [
            Compared("Computed now", computed.hex()),
            Compared("Recorded with the receipt", with_receipt.hex()),
            Compared("Recorded with its ID", with_identity.hex() if with_identity else "nothing"),
        ],
    )


def _fields_check(receipt: Receipt, payload: dict[str, Any]) -> Check:
    problems = schema.check_fields(payload, now=receipt.accepted_at.timestamp())
    required = [name for name in schema.REQUIRED_MEMBERS if name in payload]
    optional = [name for name in schema.OPTIONAL_MEMBERS if name in payload]
    other = [name for name in payload if name not in required and name not in optional]
    return Check(
        "fields",
        not problems,
        "; ".join(f"{problem.field} {problem.message}" for problem in problems)
        or "every field has a valid type and value",
        [
            *(Compared(each.field, _shown(payload, each.field)) for each in problems),
            Compared("Required", f"{len(required)} of {len(schema.REQUIRED_MEMBERS)} present"),
            Compared("Optional", ", ".join(optional) or "none"),
            Compared("Other, not checked", _shortened(", ".join(map(_spelled, other))) or "none"),
            Compared("ts_end against", f"{receipt.accepted_at:%F %T} UTC, when it was accepted"),
        ],
    )


def _node_check(receipt: Receipt, payload: dict[str, Any]) -> Check:
    ok = payload.get("node_id") == receipt.node_id
    return Check(
        "node",
        ok,
        "names the node that posted it" if ok else "names another node than the one that posted it",
        [
            Compared("Named in the JSON", receipt.node_id if ok else _shown(payload, "node_id")),
            Compared("Posted by", receipt.node_id),
        ],
    )


def _record_check(receipt: Receipt, payload: dict[str, Any]) -> Check:
    """Whether lists, sums and earnings, which read the columns, go by what was signed."""
    signed = _columns_of(payload)
    stored = {name: getattr(receipt, name) for name in _RECORDED}
    other = [name for name in _RECORDED if signed.get(name) != stored[name]]
    return Check(
        "record",
        not other,
        f"the console's figures differ from it: {', '.join(other)}"
        if other
        else "the console's figures are those that it states",
        [
            *(Compared(f"{name}, signed", _shown(payload, _MEMBERS.get(name, name))) for name in other),
            *(Compared(f"{name}, stored", str(stored[name])) for name in other),
            Compared("Equal", f"{len(_RECORDED) - len(other)} of {len(_RECORDED)} columns"),
        ],
    )


_RECORDED = (
    "request_id", "region", "model_id", "ts_start", "ts_end", "tokens_input", "tokens_output", "p95_ms", "hedged",
    "cache_hit", "failed",
)  # fmt: skip
_MEMBERS = {"failed": "outcome"}


def _columns_of(payload: dict[str, Any]) -> dict[str, Any]:
    """What acceptance stores of the receipt. A time that is none is left out."""
    columns = {name: payload.get(name) for name in _RECORDED}
    for name in ("ts_start", "ts_end"):
        try:
            columns[name] = datetime.fromtimestamp(payload[name], UTC)
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            columns[name] = None
    columns["failed"] = payload.get("outcome") == schema.RequestOutcome.ERROR
    return columns


def _key_check(receipt: Receipt) -> Check:
    key, text = receipt.key, public_key_text(bytes(receipt.public_key))
    ended = Compared("Request ended", f"{receipt.ts_end:%F %T} UTC")
    if key is None:
        return Check(
            "key",
            False,
            "not on record as a key of the node",
            [Compared("Key", text), Compared("Current", "never"), ended],
        )
    until = f"until {key.valid_to:%F %T} UTC" if key.valid_to is not None else "on"
    return Check(
        "key",
        True,
        f"on record as a key of the node, {_life(key, receipt.ts_end)}",
        [
            Compared("Key", text),
            Compared("Current", f"from {key.valid_from:%F %T} UTC {until}"),
            ended,
        ],
    )


def _signature_check(receipt: Receipt, payload: dict[str, Any]) -> Check:
    public_key = bytes(receipt.public_key)
    signature = Compared("Signature", _shown(payload, "signature"))
    key = Compared("By the key", public_key_text(public_key))
    fails = "the signature does not match that key and these bytes"
    try:
        statement = canonical_bytes(payload)
    except NotCanonicalError:
        return Check(
            "signature", False, fails, [Compared("Signed bytes", "no RFC 8785 form"), signature, key]
        )
    ok = signing.verify_statement(statement, payload.get("signature"), public_key)
    return Check(
        "signature",
        ok,
        "verifies: ed25519 over the RFC 8785 form of the receipt without its signature" if ok else fails,
        [
            Compared("Signed bytes", f"{len(statement):,} bytes"),
            Compared("Their SHA-256", hashlib.sha256(statement).hexdigest()),
            signature,
            key,
        ],
    )


def _shown(payload: dict[str, Any], name: str) -> str:
    """A member's value as text: a string as it is, if that is safe to show; anything else as JSON."""
    if name not in payload:
        return "missing"
    value = payload[name]
    return _shortened(_spelled(value) if isinstance(value, str) else json.dumps(value))


def _spelled(text: str) -> str:
    """Text with invisible and direction-turning characters as JSON escapes."""
    return text if text.isprintable() else json.dumps(text)


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _life(key: NodeKey, ts_end: datetime) -> str:
    """When the key was current. A receipt signed outside of that time is genuine, but not paid."""
    grace = timedelta(seconds=CLOCK_GRACE_SECONDS)
    if ts_end < key.valid_from - grace:
        return f"but only since {key.valid_from:%F %T} UTC, after the request ended"
    if key.valid_to is not None and ts_end > key.valid_to + grace:
        return f"but only until {key.valid_to:%F %T} UTC, before the request ended"
    return "and was current when the request ended"
