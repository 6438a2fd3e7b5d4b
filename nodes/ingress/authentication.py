"""Authentication of signed requests from agents, validators and gateways (Standard Webhooks, over the exact body).

The order of the checks is that of the contract: the address's rate limit, the sender and its HMAC, the clock,
the replay guard, the sender's rate limit. Nothing about a node changes before the HMAC is verified.
"""

import hmac
import re
import time
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.http import HttpRequest

from jatevo.web.address import client_network
from jatevo.web.errors import ApiError
from jatevo.web.postgresql.statements import fetch
from jatevo.web.replay import claim_message
from jatevo.web.throttling import hit
from jatevo.wire.names import NODE_ID_PATTERN
from jatevo.wire.webhook import digests_of, request_digest
from nodes.models import Sender
from nodes.rules.credentials import derive_secret

NODE_HEADER: Final = "X-Node-Id"

# With a dot in an id, a signed text could be split into id, timestamp and body in two ways.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")
_SENDER_ID = re.compile(NODE_ID_PATTERN, re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True)
class NodeCaller:
    """An authenticated node, with the fields that the rest of the request needs."""

    node_id: str
    status: str
    region: str
    keys: tuple["KeySpan", ...]


@dataclass(frozen=True)
class KeySpan:
    """A public key (32 bytes) and when it was current, in unix seconds.

    `until` is None for the current key.
    """

    public_key: bytes
    since: float
    until: float | None


# One row with all that authentication and the rest of the request need. The keys are one array, newest first.
_NODE_SQL = """
SELECT n.token_version, n.status, n.region,
       ARRAY(SELECT k.public_key FROM nodes_nodekey k WHERE k.node_id = n.id
             ORDER BY k.valid_from DESC, k.id DESC),
       ARRAY(SELECT extract(epoch FROM k.valid_from)::float8 FROM nodes_nodekey k WHERE k.node_id = n.id
             ORDER BY k.valid_from DESC, k.id DESC),
       ARRAY(SELECT extract(epoch FROM k.valid_to)::float8 FROM nodes_nodekey k WHERE k.node_id = n.id
             ORDER BY k.valid_from DESC, k.id DESC)
FROM nodes_node n WHERE n.id = %s
"""


def authenticate_node(request: HttpRequest, *, limit: str) -> NodeCaller:
    """The node that signed this request. Raises ApiError 401, 409 (replay) or 429.

    `limit` is the name of the node's rate limit in settings.RATE_LIMITS.
    """
    hit("address", client_network(request))
    node_id = _sender(request, NODE_HEADER)
    rows = fetch(_NODE_SQL, [node_id])
    _check_signature(request, "node", node_id, rows[0][0] if rows else None)
    claim_message(request, f"node:{node_id}", request.headers["webhook-id"], limit, "node", node_id)
    (row,) = rows
    spans = tuple(
        KeySpan(bytes(key), since, until) for key, since, until in zip(row[3], row[4], row[5], strict=True)
    )
    return NodeCaller(node_id, row[1], row[2], spans)


def authenticate_sender(request: HttpRequest, model: type[Sender]) -> str:
    """The id of the validator or gateway that signed this request. Raises what authenticate_node raises."""
    hit("address", client_network(request))
    sender = _sender(request, model.header)
    active = model._default_manager.filter(pk=sender, is_active=True)
    version = active.values_list("token_version", flat=True).first()
    _check_signature(request, model.kind, sender, version)
    claim_message(request, f"{model.kind}:{sender}", request.headers["webhook-id"], model.kind, sender)
    return sender


def _sender(request: HttpRequest, header: str) -> str:
    sender = request.headers.get(header, "")
    signed = all(request.headers.get(f"webhook-{part}") for part in ("id", "timestamp", "signature"))
    if not sender or not signed:
        raise ApiError(401, "unauthenticated", f"Send {header} and the three webhook- headers.")
    if not _SENDER_ID.fullmatch(sender):
        raise _wrong()
    return sender


def _check_signature(request: HttpRequest, kind: str, sender: str, version: int | None) -> None:
    """Raises ApiError 401 unless a signature matches and the timestamp is near the server's clock.

    An unknown sender takes the same time as a wrong signature.
    """
    message_id, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    if not _MESSAGE_ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(stamp):
        raise _wrong()
    secret = derive_secret(settings.MASTER_KEY, kind, sender, version or 0)
    wanted = request_digest(secret, message_id, stamp, request.body)
    fits = [hmac.compare_digest(wanted, given) for given in digests_of(request.headers["webhook-signature"])]
    if version is None or not any(fits):
        raise _wrong()
    now = time.time()
    if abs(now - int(stamp)) > settings.CLOCK_TOLERANCE_SECONDS:
        raise ApiError(
            401,
            "clock_skew",
            f"The timestamp is off by more than {settings.CLOCK_TOLERANCE_SECONDS} s.",
            server_time=round(now, 3),
        )


def _wrong() -> ApiError:
    return ApiError(401, "invalid_token", "The signature does not match the sender and the body.")
