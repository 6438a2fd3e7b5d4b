"""Verifies a receipt's fields and signature without the network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .wire.keys import parse_public_key
from .wire.schema import check_fields
from .wire.signing import verify


@dataclass(frozen=True)
class Verified:
    """The result. `problems` is empty if the receipt is genuine."""

    problems: tuple[str, ...]
    key: str | None
    """The public key that made the signature."""


def parse_receipt(raw: bytes) -> dict[str, Any]:
    """The receipt in a file. Raises ValueError if it is not one JSON object, or names a member twice."""
    document = json.loads(raw, object_pairs_hook=_without_repeats)
    if not isinstance(document, dict):
        raise ValueError("it must be one JSON object")
    return document


def verify_receipt(receipt: dict[str, Any], keys: Iterable[str]) -> Verified:
    """Check the fields, and the signature against each of the public keys (`ed25519:…`).

    Times are checked against each other only: a receipt stays genuine when it is older than the console
    takes. Raises MalformedKeyError if one of the keys is not an ed25519 key.
    """
    ended_at = receipt.get("ts_end")
    now = float(ended_at) if type(ended_at) is int else 0.0
    problems = [f"{error.field}: {error.message}" for error in check_fields(receipt, now=now)]
    for key in keys:
        if verify(receipt, parse_public_key(key)):
            return Verified(tuple(problems), key)
    return Verified(
        (*problems, "signature: it was made by none of these keys, or the receipt was changed"), None
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a member is given twice")
    return document
