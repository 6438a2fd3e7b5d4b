"""`GET /healthz?nonce=…`, which proves to a validator that this endpoint has the node's private key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from ..key_change import CurrentKey
from ..wire.signing import sign_health
from .refusals import Refused

_NONCE = re.compile(r"[0-9a-fA-F]{32}")


def health_document(nonces: Sequence[str], node_id: str, key: CurrentKey) -> dict[str, Any]:
    """The answer to the nonces of a query, of which there must be one. Raises Refused."""
    if len(nonces) != 1 or not _NONCE.fullmatch(nonces[0]):
        raise Refused(HTTPStatus.BAD_REQUEST, "invalid_request", "nonce must be 32 hex digits")
    nonce = nonces[0]
    return {"node_id": node_id, "nonce": nonce, "signature": sign_health(node_id, nonce, key.signing_key)}
