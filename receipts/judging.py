"""Judging a posted receipt by its fields and its signature. Pure: the clock and the node's keys are passed in."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from jatevo.wire import schema, signing
from nodes.ingress.authentication import KeySpan, NodeCaller

CLOCK_GRACE_SECONDS: Final = 300.0  # a key that was just replaced may still sign requests that were under way


class Ruling(StrEnum):
    """The outcome for a posted receipt."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "receipt_conflict"
    INVALID = "invalid_request"
    MISMATCH = "node_mismatch"
    FORGED = "invalid_signature"


@dataclass(frozen=True)
class Posted:
    """A receipt as posted: the exact bytes, and their value as strict JSON."""

    raw: bytes
    payload: Any


@dataclass(frozen=True)
class Verdict:
    """The ruling on one posted receipt. `problems` lists the fields that are wrong."""

    request_id: str
    ruling: Ruling
    problems: tuple[schema.FieldError, ...] = ()


@dataclass(frozen=True)
class Sound:
    """A receipt whose fields and signature are valid."""

    posted: Posted
    sha256: bytes
    key: KeySpan

    @property
    def request_id(self) -> str:
        request_id: str = self.posted.payload["request_id"]
        return request_id


def judge(caller: NodeCaller, posted: Posted, *, now: float) -> Sound | Verdict:
    """The receipt if it is sound, or why it is not. `now` is in unix seconds."""
    payload = posted.payload
    if not isinstance(payload, dict):
        return Verdict("", Ruling.INVALID, (schema.FieldError("body", "must be a JSON object"),))
    request_id = payload.get("request_id")
    name = request_id[:128] if isinstance(request_id, str) else ""
    if isinstance(payload.get("node_id"), str) and payload["node_id"] != caller.node_id:
        return Verdict(name, Ruling.MISMATCH)
    problems = [
        problem
        for problem in schema.check_fields(payload, now=now)
        # a signature that is text of another form is an invalid signature, not an invalid field
        if problem.field != "signature" or not isinstance(payload.get("signature"), str)
    ]
    if problems:
        return Verdict(name, Ruling.INVALID, tuple(problems))
    # A receipt is forged if no key of the node, current or former, has signed it. An agent that does not know
    # that its key was changed still signs with the former key. Whether such a receipt is paid is decided
    # later, by when the key was current.
    for key in sorted(caller.keys, key=lambda key: not in_key_life(key, payload["ts_end"])):
        if signing.verify(payload, key.public_key):
            return Sound(posted, hashlib.sha256(posted.raw).digest(), key)
    return Verdict(name, Ruling.FORGED)


def in_key_life(key: KeySpan, ts_end: float) -> bool:
    """Whether the key was current at `ts_end` (unix seconds), with a grace at both ends."""
    ended = key.until is not None and ts_end > key.until + CLOCK_GRACE_SECONDS
    return key.since - CLOCK_GRACE_SECONDS <= ts_end and not ended
