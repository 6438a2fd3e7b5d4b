"""Taking heartbeats, many at a time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.utils import timezone

from jatevo.web.errors import ApiError, from_exception
from jatevo.web.request_id import use
from jatevo.web.strict_json import parse_object
from nodes import actions
from nodes.ingress import payloads
from nodes.ingress.answers import asked_of
from nodes.ingress.authentication import NODE_HEADER, NodeCaller, admit_nodes
from nodes.ingress.networks import network_of
from nodes.ingress.refusals import refusal, require_same
from nodes.ingress.signed import Answer, Locked, SignedEndpoint, SignedRequest, Taken
from nodes.models import Challenge
from nodes.rules.lifecycle import Status


@dataclass(frozen=True)
class _Recorded:
    """A heartbeat that is on record, and what became of the node's statement."""

    heard: payloads.Heard
    taken: actions.TakenHeartbeat
    restated: actions.Restated


def take(admitted: Sequence[tuple[SignedRequest, NodeCaller]]) -> list[Taken]:
    """Records the heartbeats and answers them."""
    at = timezone.now()
    heard = [_read(request, caller) for request, caller in admitted]
    sent = [
        actions.SentBeat(
            node_id=caller.node_id,
            beat=each.beat,
            statement=each.statement,
            network=network_of(request.address),
            token_version=caller.token_version,
        )
        for (request, caller), each in zip(admitted, heard, strict=True)
        if not isinstance(each, ApiError)
    ]
    taken = iter(actions.heartbeats(sent=sent, at=at) if sent else ())
    recorded: list[_Recorded | ApiError | Locked] = []
    for (request, _), each in zip(admitted, heard, strict=True):
        use(request.request_id)
        recorded.append(each if isinstance(each, ApiError) else _recorded(each, next(taken)))
    challenges = _challenges([each for each in recorded if isinstance(each, _Recorded)], at)
    return [
        _answer(each, challenges.pop(each.heard.node_id, None)) if isinstance(each, _Recorded) else each
        for each in recorded
    ]


HEARTBEATS = SignedEndpoint(
    path="/v1/nodes/heartbeat",
    header=NODE_HEADER,
    most_bytes=settings.MAX_BODY_BYTES,
    admit=partial(admit_nodes, limit="node", with_keys=False),
    take=take,
)


def server_time() -> float:
    """Unix seconds, to the millisecond."""
    return round(time.time(), 3)


def _read(request: SignedRequest, caller: NodeCaller) -> payloads.Heard | ApiError:
    try:
        heard = payloads.heartbeat(parse_object(request.body))
        require_same(caller.node_id, heard.node_id)
    except ApiError as error:
        return error
    if heard.beat.ts > time.time() + settings.HEARTBEAT_LEAD_SECONDS:
        # if it were accepted, all correct heartbeats until that time would be refused as old
        return ApiError(401, "clock_skew", "`ts` is ahead of the server's clock.", server_time=server_time())
    return heard


def _recorded(
    heard: payloads.Heard, taken: actions.TakenHeartbeat | Exception
) -> _Recorded | ApiError | Locked:
    """What follows for this heartbeat alone. A failure leaves the others' answers as they are."""
    if isinstance(taken, actions.RowLocked):
        return Locked()
    if isinstance(taken, actions.NodeError):
        return refusal(taken)
    if isinstance(taken, Exception):
        return from_exception(taken)
    if not taken.states_anew:
        return _Recorded(heard, taken, actions.Restated())
    try:
        restated = actions.restate(node_id=heard.node_id, statement=heard.statement, at=timezone.now())
    except Exception as error:
        return from_exception(error)
    return _Recorded(heard, taken, restated)


def _challenges(recorded: Sequence[_Recorded], at: datetime) -> dict[str, Challenge]:
    """What the nodes are asked. If that fails, their next heartbeats take it along."""
    nodes = {each.heard.node_id: each.taken.asked for each in recorded if not each.restated.held}
    try:
        return actions.ask_due(nodes=nodes, at=at)
    except Exception as error:
        from_exception(error)  # which logs it
        return {}


def _answer(recorded: _Recorded, challenge: Challenge | None) -> Answer:
    restated = recorded.restated
    body: dict[str, Any] = {
        "status": Status.QUARANTINE if restated.held else recorded.taken.status,
        "server_time": server_time(),
        "heartbeat_interval_s": settings.HEARTBEAT_INTERVAL_SECONDS,
    }
    if challenge is not None:
        body["challenge"] = asked_of(challenge)
    if ignored := [*recorded.heard.ignored, *restated.declined]:
        body["ignored"] = ignored
    return Answer(body)
