"""Taking heartbeats, many at a time."""

import time
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils import timezone

from jatevo.web.errors import ApiError, from_exception
from jatevo.web.request_id import use
from jatevo.web.strict_json import parse_object
from nodes import actions
from nodes.ingress import payloads
from nodes.ingress.answers import asked_of
from nodes.ingress.authentication import NODE_HEADER, NodeCaller, admit_heartbeats, forget_token
from nodes.ingress.networks import network_of
from nodes.ingress.refusals import refusal, require_same
from nodes.ingress.signed import Answer, Locked, SignedEndpoint, SignedRequest, Taken


def take(admitted: Sequence[tuple[SignedRequest, NodeCaller]]) -> list[Taken]:
    """Records the heartbeats and answers them."""
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
    try:
        taken = iter(actions.heartbeats(sent=sent, at=timezone.now()) if sent else ())
    except Exception:  # nothing has compared the versions of their tokens
        for _, caller in admitted:
            forget_token(caller.node_id)
        raise
    answers: list[Taken] = []
    for (request, caller), each in zip(admitted, heard, strict=True):
        use(request.request_id)
        answer = each if isinstance(each, ApiError) else _answer(each, next(taken))
        if not isinstance(answer, Answer):  # perhaps its token has ended
            forget_token(caller.node_id)
        answers.append(answer)
    return answers


HEARTBEATS = SignedEndpoint(
    path="/v1/nodes/heartbeat",
    header=NODE_HEADER,
    most_bytes=settings.MAX_BODY_BYTES,
    admit=admit_heartbeats,
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


def _answer(heard: payloads.Heard, taken: actions.TakenHeartbeat | Exception) -> Taken:
    if isinstance(taken, actions.RowLocked):
        return Locked()
    if isinstance(taken, actions.NodeError):
        return refusal(taken)
    if isinstance(taken, Exception):
        return from_exception(taken)
    body: dict[str, Any] = {
        "status": taken.status,
        "server_time": server_time(),
        "heartbeat_interval_s": settings.HEARTBEAT_INTERVAL_SECONDS,
    }
    if taken.challenge is not None:
        body["challenge"] = asked_of(taken.challenge)
    if ignored := [*heard.ignored, *taken.declined]:
        body["ignored"] = ignored
    return Answer(body)
