"""Authentication of signed requests from agents, validators and gateways (Standard Webhooks, over the exact body).

The order of the checks is that of the contract: the address's rate limit, the sender and its HMAC, the clock,
the replay guard, the sender's rate limit. Nothing about a node changes before the HMAC is verified. Many requests are
checked with one round trip to a store where each check needs one.

What nodes send is checked with remembered versions of tokens first. What does not fit one is checked again with the version
in PostgreSQL. What fits is compared with PostgreSQL's as well: here, where its keys are read, or, for heartbeats, by the
statement that records them. A token that has ended gets that far in one group at most: what is refused there or before makes
the process forget the version.
"""

import hmac
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Generic, TypeVar

from django.conf import settings
from django.http import HttpRequest

from jatevo.web.address import network_of_address
from jatevo.web.errors import ApiError
from jatevo.web.postgresql.columns import texts
from jatevo.web.postgresql.statements import fetch
from jatevo.web.replay import claimed_by
from jatevo.web.throttling import SignedMessage, first_sights, forget_sights, hits, hits_and_sights, over
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


@dataclass(frozen=True, slots=True)
class _Senders(Generic[C]):
    """A kind of sender, and how its requests are admitted.

    `read` asks PostgreSQL for those that are known. `limited` is the name of their limit, and the keys that are counted
    with a sender's id. With `compares_later`, a `remembered` version counts until what takes the requests compares it.
    Otherwise it is compared with PostgreSQL's before.
    """

    kind: str
    header: str
    read: Callable[[Collection[str]], Mapping[str, _Known]]
    limited: tuple[str, ...]
    caller: Callable[[SignedMessage, _Known], C]
    remembered: TokenVersions | None = None
    compares_later: bool = False


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


MOST_BYTES_BY_MEMORY: Final = 64 * 1024
# More than the largest fleet, in a few megabytes.
REMEMBERED_TOKENS: Final = TokenVersions(20_000)


def admit_nodes(requests: Sequence[SignedRequest], *, limit: str) -> list[NodeCaller | ApiError]:
    """The node that signed each request, with its keys, or ApiError 401, 409 (replay) or 429.

    `limit` is the name of the node's rate limit in settings.RATE_LIMITS.
    """
    return _admit(requests, _nodes_limited_by(limit))


@cache
def _nodes_limited_by(limit: str) -> _Senders[NodeCaller]:
    return _Senders("node", NODE_HEADER, _nodes_with_keys, (limit, "node"), _node_caller, REMEMBERED_TOKENS)


def admit_heartbeats(requests: Sequence[SignedRequest]) -> list[NodeCaller | ApiError]:
    """The node that signed each heartbeat, without its keys, or what `admit_nodes` refuses with.

    The token may have ended. So whoever takes the heartbeat compares its version where it is recorded, and forgets it
    (`forget_token`) if the heartbeat is not recorded.
    """
    return _admit(requests, _HEARTBEATS)


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

    return _admit(requests, _Senders(model.kind, model.header, active, (model.kind,), caller))


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


def _admit(requests: Sequence[SignedRequest], senders: _Senders[C]) -> list[C | ApiError]:
    """A message of a stream claims its id too, but goes on if the id was claimed before: by itself, if it comes again. Only
    PostgreSQL knows whether it was taken then.
    """
    if (remembered := senders.remembered) is not None and _is_worth_remembering(requests):
        by_memory = {
            sender: _Known(version)
            for sender, version in remembered.of({each.sender for each in requests}).items()
        }
        if all(_refusal(request, senders, by_memory) is None for request in requests):
            held = by_memory if senders.compares_later else senders.read(by_memory)
            if all(
                sender in held and held[sender].token_version == each.token_version
                for sender, each in by_memory.items()
            ):
                return _admit_at_once(requests, senders, held)
    found: list[C | ApiError | None] = []
    found += hits("address", [network_of_address(each.address) for each in requests])
    for number, request in enumerate(requests):
        if found[number] is None:
            found[number] = _incomplete(request, senders.header)
    waiting = {number: requests[number] for number, refused in enumerate(found) if refused is None}
    known = senders.read({request.sender for request in waiting.values()}) if waiting else {}
    messages: dict[int, SignedMessage] = {}
    for number, request in waiting.items():
        found[number] = _forged_or_late(request, senders.kind, known.get(request.sender))
        if found[number] is None:
            messages[number] = _message(request, senders)
    counts = first_sights(list(messages.values()), *senders.limited) if messages else []
    refused = _refused(messages, counts, requests, senders)
    for number, message in messages.items():
        found[number] = refused.get(number) or senders.caller(message, known[message.sender])
    return [each for each in found if each is not None]


def _is_worth_remembering(requests: Sequence[SignedRequest]) -> bool:
    """Whether these may be verified with remembered versions before their addresses are counted.

    Not large ones, whose HMACs are no small work for an address that is over its limit. And not those of a stream: a
    version that is compared later might name the owner of an ended token as the sender of what is parked.
    """
    size = sum(len(request.body) for request in requests)
    return size <= MOST_BYTES_BY_MEMORY and all(request.stored_at is None for request in requests)


def _admit_at_once(
    requests: Sequence[SignedRequest], senders: _Senders[C], known: Mapping[str, _Known]
) -> list[C | ApiError]:
    """The same with one round trip to Redis, for requests that are all verified already.

    A signature that fits what is remembered costs less than asking whether its address may send any more. Answers are
    those of the contract's order: an address over its limit neither claims an id nor counts for the sender.
    """
    messages = [_message(request, senders) for request in requests]
    addresses = [network_of_address(each.address) for each in requests]
    found = hits_and_sights("address", addresses, messages, *senders.limited)
    within = {number: messages[number] for number, (too_many, _) in enumerate(found) if too_many is None}
    counts = [found[number][1] for number in within]
    refused = _refused(within, counts, requests, senders)
    return [
        too_many or refused.get(number) or senders.caller(messages[number], known[messages[number].sender])
        for number, (too_many, _) in enumerate(found)
    ]


def _message(request: SignedRequest, senders: _Senders[C]) -> SignedMessage:
    return SignedMessage(f"{senders.kind}:{request.sender}", request.message_id, request.sender)


def _refused(
    messages: Mapping[int, SignedMessage],
    counts: Sequence[int],
    requests: Sequence[SignedRequest],
    senders: _Senders[C],
) -> dict[int, ApiError]:
    """Those of the authenticated messages that came before or too often, by what `first_sights` counted."""
    refused: dict[int, ApiError] = {}
    too_many = []
    for (number, message), count in zip(messages.items(), counts, strict=True):
        if not count and requests[number].stored_at is None:
            refused[number] = ApiError(409, "replayed_request", "This webhook-id has already been used.")
        elif over_limit := over(count, *senders.limited, message.sender):
            refused[number] = over_limit
            too_many.append(message)
    if too_many:
        forget_sights(too_many)
    if senders.remembered is not None:
        for number in refused:
            senders.remembered.forget(messages[number].sender)
    return refused


def _refusal(request: SignedRequest, senders: _Senders[C], known: Mapping[str, _Known]) -> ApiError | None:
    return _incomplete(request, senders.header) or _forged_or_late(
        request, senders.kind, known.get(request.sender)
    )


def _nodes(ids: Collection[str]) -> dict[str, _Known]:
    versions = dict(fetch(_TOKENS_SQL, [texts(ids)]))
    REMEMBERED_TOKENS.learn(ids, versions)
    return {node_id: _Known(version) for node_id, version in versions.items()}


def _nodes_with_keys(ids: Collection[str]) -> dict[str, _Known]:
    found = {
        node_id: _Known(
            version,
            tuple(
                KeySpan(bytes(key), begun, ended)
                for key, begun, ended in zip(keys or (), since or (), until or (), strict=True)
            ),
        )
        for node_id, version, keys, since, until in fetch(_KEYS_SQL, [texts(ids)])
    }
    REMEMBERED_TOKENS.learn(ids, {node_id: each.token_version for node_id, each in found.items()})
    return found


def _node_caller(message: SignedMessage, known: _Known) -> NodeCaller:
    return NodeCaller(message, message.sender, known.token_version, known.keys)


_HEARTBEATS: Final = _Senders(
    "node", NODE_HEADER, _nodes, ("node", "node"), _node_caller, REMEMBERED_TOKENS, compares_later=True
)


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
