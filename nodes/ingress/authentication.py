"""Authentication of signed requests from agents, validators and gateways (Standard Webhooks, over the exact body).

The order of the checks is that of the contract: the address's rate limit, the sender and its HMAC, the clock,
the replay guard, the sender's rate limit. Nothing about a node changes before the HMAC is verified. Many requests are
checked with one round trip to a store where each check needs one.

Heartbeats are checked with remembered versions of tokens. What does not fit one is checked again with the version in
PostgreSQL. A token that has ended may fit, until the statement that records the heartbeat compares the version. What is
refused there or before makes the process forget the version, so that an ended token gets that far in one group at most.
"""

import hmac
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from django.conf import settings
from django.http import HttpRequest

from jatevo.web.address import network_of_address
from jatevo.web.errors import ApiError
from jatevo.web.postgresql.columns import texts
from jatevo.web.postgresql.statements import fetch
from jatevo.web.replay import claimed_by
from jatevo.web.throttling import SignedMessage, first_sights, forget_sights, hits, over
from jatevo.wire.names import NODE_ID_PATTERN
from jatevo.wire.webhook import digests_of, request_digest
from nodes.ingress.signed import Admitted, SignedRequest
from nodes.ingress.token_versions import TokenVersions
from nodes.models import Sender
from nodes.rules.credentials import derive_secret

NODE_HEADER: Final = "X-Node-Id"

# With a dot in an id, a signed text could be split into id, timestamp and body in two ways.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")
_SENDER_ID = re.compile(NODE_ID_PATTERN, re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,11}")

C = TypeVar("C", bound=Admitted)


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A public key (32 bytes) and when it was current, in unix seconds.

    `until` is None for the current key.
    """

    public_key: bytes
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class NodeCaller:
    """An authenticated node. Its keys, of which the current one is the first, are there if they were asked for."""

    message: SignedMessage
    node_id: str
    token_version: int
    keys: tuple[KeySpan, ...]


@dataclass(frozen=True, slots=True)
class SenderCaller:
    """An authenticated validator or gateway."""

    message: SignedMessage
    sender_id: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A sender in the database."""

    token_version: int
    keys: tuple[KeySpan, ...] = ()


_TOKENS_SQL = "SELECT id, token_version FROM nodes_node WHERE id = ANY(%s)"
# With what the rest of the requests need. The keys are arrays, newest first.
_KEYS_SQL = """
SELECT n.id, n.token_version, k.public_keys, k.since, k.until
FROM nodes_node n CROSS JOIN LATERAL (
    SELECT array_agg(public_key ORDER BY valid_from DESC, id DESC) AS public_keys,
           array_agg(extract(epoch FROM valid_from)::float8 ORDER BY valid_from DESC, id DESC) AS since,
           array_agg(extract(epoch FROM valid_to)::float8 ORDER BY valid_from DESC, id DESC) AS until
    FROM nodes_nodekey WHERE node_id = n.id
) k
WHERE n.id = ANY(%s)
"""


# More than the largest fleet, in a few megabytes.
REMEMBERED_TOKENS: Final = TokenVersions(20_000)


def admit_nodes(requests: Sequence[SignedRequest], *, limit: str) -> list[NodeCaller | ApiError]:
    """The node that signed each request, with its keys, or ApiError 401, 409 (replay) or 429.

    `limit` is the name of the node's rate limit in settings.RATE_LIMITS.
    """
    return _admit(requests, "node", NODE_HEADER, _nodes_with_keys, (limit, "node"), _node_caller)


def admit_heartbeats(requests: Sequence[SignedRequest]) -> list[NodeCaller | ApiError]:
    """The node that signed each heartbeat, without its keys, or what `admit_nodes` refuses with.

    The token may have ended. So whoever takes the heartbeat compares its version where it is recorded, and forgets it
    (`forget_token`) if the heartbeat is not recorded.
    """
    return _admit(
        requests, "node", NODE_HEADER, _nodes, ("node", "node"), _node_caller, remembered=REMEMBERED_TOKENS
    )


def forget_token(node_id: str) -> None:
    """Has the node's next heartbeat ask PostgreSQL for the version of its token."""
    REMEMBERED_TOKENS.forget(node_id)


def admit_senders(requests: Sequence[SignedRequest], model: type[Sender]) -> list[SenderCaller | ApiError]:
    """The validator or gateway that signed each request, or what `admit_nodes` refuses with."""

    def active(ids: Collection[str]) -> dict[str, _Known]:
        rows = model._default_manager.filter(pk__in=ids, is_active=True).values_list("pk", "token_version")
        return {sender: _Known(version) for sender, version in rows}

    def caller(message: SignedMessage, known: _Known) -> SenderCaller:
        return SenderCaller(message, message.sender)

    return _admit(requests, model.kind, model.header, active, (model.kind,), caller)


def authenticate_node(request: HttpRequest, *, limit: str) -> NodeCaller:
    """The node that signed this request. Raises ApiError 401, 409 (replay) or 429, as for `admit_nodes`."""
    (caller,) = admit_nodes([SignedRequest.of(request, NODE_HEADER)], limit=limit)
    if isinstance(caller, ApiError):
        raise caller
    claimed_by(request, caller.message)
    return caller


def authenticate_sender(request: HttpRequest, model: type[Sender]) -> str:
    """The id of the validator or gateway that signed this request. Raises what authenticate_node raises."""
    (caller,) = admit_senders([SignedRequest.of(request, model.header)], model)
    if isinstance(caller, ApiError):
        raise caller
    claimed_by(request, caller.message)
    return caller.sender_id


def _admit(
    requests: Sequence[SignedRequest],
    kind: str,
    header: str,
    read: Callable[[Collection[str]], Mapping[str, _Known]],
    limited: tuple[str, ...],
    made: Callable[[SignedMessage, _Known], C],
    *,
    remembered: TokenVersions | None = None,
) -> list[C | ApiError]:
    """`limited` is the name of the senders' limit, and the keys that are counted with a sender's id.

    A message of a stream claims its id too, but goes on if the id was claimed before: by itself, if it comes again. Only
    PostgreSQL knows whether it was taken then.
    """
    found: list[C | ApiError | None] = []
    found += hits("address", [network_of_address(each.address) for each in requests])
    for number, request in enumerate(requests):
        if found[number] is None:
            found[number] = _incomplete(request, header)
    waiting = {number: requests[number] for number, refused in enumerate(found) if refused is None}
    known, forged_or_late = _verified(waiting, kind, read, remembered)
    messages: dict[int, SignedMessage] = {}
    for number, request in waiting.items():
        found[number] = forged_or_late[number]
        if found[number] is None:
            messages[number] = SignedMessage(f"{kind}:{request.sender}", request.message_id, request.sender)
    too_many = []
    for (number, message), count in zip(
        messages.items(), first_sights(list(messages.values()), *limited) if messages else (), strict=True
    ):
        if not count and requests[number].stored_at is None:
            found[number] = ApiError(409, "replayed_request", "This webhook-id has already been used.")
        elif refused := over(count, *limited, message.sender):
            found[number] = refused
            too_many.append(message)
        else:
            found[number] = made(message, known[message.sender])
    if too_many:
        forget_sights(too_many)
    if remembered is not None:
        for number, message in messages.items():
            if isinstance(found[number], ApiError):
                remembered.forget(message.sender)
    return [each for each in found if each is not None]


def _verified(
    requests: Mapping[int, SignedRequest],
    kind: str,
    read: Callable[[Collection[str]], Mapping[str, _Known]],
    remembered: TokenVersions | None,
) -> tuple[dict[str, _Known], dict[int, ApiError | None]]:
    """The senders that are known, and whether each request is refused by its signature or its time.

    Whatever is refused with a remembered version, or without one, is checked once more with PostgreSQL's, with all else
    of its sender. That is twice for unknown senders too, which take as long as a wrong signature.
    """
    doubtful = {request.sender for request in requests.values()}
    known: dict[str, _Known] = {}
    found: dict[int, ApiError | None] = {}
    if remembered is not None:
        known = {sender: _Known(version) for sender, version in remembered.of(doubtful).items()}
        for number, request in requests.items():
            found[number] = _forged_or_late(request, kind, known.get(request.sender))
        doubtful = {request.sender for number, request in requests.items() if found[number] is not None}
    if doubtful:
        fresh = read(doubtful)
        known = {sender: each for sender, each in known.items() if sender not in doubtful} | dict(fresh)
        for number, request in requests.items():
            if request.sender in doubtful:
                found[number] = _forged_or_late(request, kind, known.get(request.sender))
    return known, found


def _nodes(ids: Collection[str]) -> dict[str, _Known]:
    versions = dict(fetch(_TOKENS_SQL, [texts(ids)]))
    REMEMBERED_TOKENS.learn(ids, versions)
    return {node_id: _Known(version) for node_id, version in versions.items()}


def _nodes_with_keys(ids: Collection[str]) -> dict[str, _Known]:
    return {
        node_id: _Known(
            version,
            tuple(
                KeySpan(bytes(key), begun, ended)
                for key, begun, ended in zip(keys or (), since or (), until or (), strict=True)
            ),
        )
        for node_id, version, keys, since, until in fetch(_KEYS_SQL, [texts(ids)])
    }


def _node_caller(message: SignedMessage, known: _Known) -> NodeCaller:
    return NodeCaller(message, message.sender, known.token_version, known.keys)


def _incomplete(request: SignedRequest, header: str) -> ApiError | None:
    if not (request.sender and request.message_id and request.timestamp and request.signature):
        return ApiError(401, "unauthenticated", f"Send {header} and the three webhook- headers.")
    return None if _SENDER_ID.fullmatch(request.sender) else _wrong()


def _forged_or_late(request: SignedRequest, kind: str, known: _Known | None) -> ApiError | None:
    """ApiError 401 unless a signature matches and the timestamp is near the server's clock, or near the time at which a
    stream stored the message.

    An unknown sender takes the same time as a wrong signature.
    """
    if not _MESSAGE_ID.fullmatch(request.message_id) or not _TIMESTAMP.fullmatch(request.timestamp):
        return _wrong()
    secret = derive_secret(settings.MASTER_KEY, kind, request.sender, known.token_version if known else 0)
    wanted = request_digest(secret, request.message_id, request.timestamp, request.body)
    fits = [hmac.compare_digest(wanted, given) for given in digests_of(request.signature)]
    if known is None or not any(fits):
        return _wrong()
    now = time.time()
    heard_at = now if request.stored_at is None else request.stored_at
    if abs(heard_at - int(request.timestamp)) <= settings.CLOCK_TOLERANCE_SECONDS:
        return None
    return ApiError(
        401,
        "clock_skew",
        f"The timestamp is off by more than {settings.CLOCK_TOLERANCE_SECONDS} s.",
        server_time=round(now, 3),
    )


def _wrong() -> ApiError:
    return ApiError(401, "invalid_token", "The signature does not match the sender and the body.")
