"""Looking up a receipt by its file: by the exact bytes, and else by the receipt that they name."""

import hashlib
import re
from dataclasses import dataclass, replace

from jatevo.web.strict_json import InvalidJson, parse
from jatevo.wire.names import NODE_ID_PATTERN
from jatevo.wire.schema import REQUEST_ID_PATTERN
from receipts.models import Receipt, ReceiptIdentity


@dataclass(frozen=True)
class LookedUp:
    """What was found for a file, among the receipts that the reader may see.

    `found` has exactly these bytes. Without it, `named` is the receipt with the node and request id that the file
    states, whose bytes differ. `same_values`: they differ in white space or the order of members only.
    """

    sha256: str
    found: Receipt | None = None
    named: Receipt | None = None
    same_values: bool = False


def look_up(raw: bytes, *, reader: object) -> LookedUp:
    """Looks for the receipt that the file contains."""
    by_hash = look_up_hash(hashlib.sha256(raw).hexdigest(), reader=reader)
    if by_hash.found:
        return by_hash
    try:
        value = parse(raw)
    except InvalidJson:
        return by_hash
    names = _names(value)
    identity = (
        ReceiptIdentity.objects.filter(node_id=names[0], request_id=names[1]).first() if names else None
    )
    if identity is None:
        return by_hash
    named = (
        Receipt.objects.visible_to(reader)
        .filter(accepted_at=identity.accepted_at, node_id=identity.node_id, request_id=identity.request_id)
        .first()
    )
    same = named is not None and parse(bytes(named.raw)) == value
    return replace(by_hash, named=named, same_values=same)


def look_up_hash(sha256: str, *, reader: object) -> LookedUp:
    """Looks for the receipt whose exact bytes have this SHA-256, in hex."""
    found = Receipt.objects.visible_to(reader).with_bytes(bytes.fromhex(sha256)).first()
    return LookedUp(sha256.lower(), found=found)


def _names(value: object) -> tuple[str, str] | None:
    """The node id and the request id that a receipt states. None if it is no receipt."""
    if not isinstance(value, dict):
        return None
    node_id, request_id = value.get("node_id"), value.get("request_id")
    if not (isinstance(node_id, str) and re.fullmatch(NODE_ID_PATTERN, node_id, re.ASCII)):
        return None
    if not (isinstance(request_id, str) and re.fullmatch(REQUEST_ID_PATTERN, request_id, re.ASCII)):
        return None
    return node_id, request_id
