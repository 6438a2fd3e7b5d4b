"""Verifying a stored receipt again from its exact bytes, step by step."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from jatevo.web.strict_json import InvalidJson, parse
from jatevo.wire import schema, signing
from jatevo.wire.keys import public_key_text
from nodes.models import NodeKey
from receipts.actions import CLOCK_GRACE_SECONDS
from receipts.models import Receipt, ReceiptIdentity


@dataclass(frozen=True)
class Check:
    """One step and its result, in words."""

    name: str
    ok: bool
    detail: str


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
    digest = hashlib.sha256(raw).digest()
    identity = ReceiptIdentity.objects.filter(node_id=receipt.node_id, request_id=receipt.request_id).first()
    checks = [
        _check(
            "bytes",
            identity is not None and digest == bytes(receipt.sha256) == bytes(identity.sha256),
            f"SHA-256 {digest.hex()}, as recorded on acceptance",
            f"SHA-256 {digest.hex()} differs from the one recorded on acceptance",
        )
    ]
    try:
        payload = parse(raw)
    except InvalidJson as error:
        return Verification((*checks, Check("json", False, error.message)))
    if not isinstance(payload, dict):
        return Verification((*checks, Check("json", False, "not an object")))
    checks.append(Check("json", True, "valid JSON without duplicate keys"))
    problems = schema.check_fields(payload, now=receipt.accepted_at.timestamp())
    checks.append(
        Check(
            "fields",
            not problems,
            "; ".join(f"{problem.field} {problem.message}" for problem in problems)
            or "every field has a valid type and value",
        )
    )
    checks.append(
        _check(
            "node",
            payload.get("node_id") == receipt.node_id,
            f"names {receipt.node_id}, the node that posted it",
            f"names another node than {receipt.node_id}, the node that posted it",
        )
    )
    return Verification((*checks, *_key_checks(receipt, payload)))


def _key_checks(receipt: Receipt, payload: dict[str, object]) -> list[Check]:
    public_key = bytes(receipt.public_key)
    text = public_key_text(public_key)
    key = NodeKey.objects.filter(node_id=receipt.node_id, public_key=public_key).first()
    return [
        _check(
            "key",
            key is not None,
            f"{text} is on record as a key of the node, {_life(key, receipt.ts_end) if key else ''}",
            f"{text} is not on record as a key of the node",
        ),
        _check(
            "signature",
            signing.verify(payload, public_key),
            "ed25519 over the RFC 8785 bytes of the receipt without its signature",
            "the signature does not match that key and these bytes",
        ),
    ]


def _check(name: str, ok: bool, holds: str, fails: str) -> Check:
    return Check(name, ok, holds if ok else fails)


def _life(key: NodeKey, ts_end: datetime) -> str:
    """When the key was current. A receipt signed outside of that time is genuine, but not paid."""
    grace = timedelta(seconds=CLOCK_GRACE_SECONDS)
    if ts_end < key.valid_from - grace:
        return f"but only since {key.valid_from:%F %T} UTC, after the request ended"
    if key.valid_to is not None and ts_end > key.valid_to + grace:
        return f"but only until {key.valid_to:%F %T} UTC, before the request ended"
    return "and was current when the request ended"
