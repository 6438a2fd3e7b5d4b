"""Taking posted receipts, many requests at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from django.conf import settings
from django.utils import timezone

from jatevo.web.errors import ApiError, FieldProblem, from_exception, invalid_request
from jatevo.web.request_id import use
from jatevo.web.strict_json import parse
from nodes.actions import NodeError
from nodes.ingress.authentication import NODE_HEADER, NodeCaller, admit_nodes
from nodes.ingress.refusals import refusal
from nodes.ingress.signed import Answer, Answered, SignedEndpoint, SignedRequest, Taken
from receipts.actions import Post, accept
from receipts.judging import Posted, Ruling, Verdict
from receipts.openapi import MOST_IN_A_BATCH

SINGLE_BODY_BYTES: Final = 256 * 1024


class _Batch(msgspec.Struct):
    receipts: list[msgspec.Raw]


@dataclass(frozen=True)
class _Body:
    """The receipts of a body. A batch is answered with a list of results, even if it has one."""

    post: Post
    is_batch: bool


def take(admitted: Sequence[tuple[SignedRequest, NodeCaller]]) -> list[Taken]:
    """Judges and stores the receipts of the requests, and answers them."""
    read = [_read(request, caller) for request, caller in admitted]
    posts = [each.post for each in read if isinstance(each, _Body)]
    accepted = iter(accept(posts=posts, at=timezone.now()) if posts else ())
    answers: list[Taken] = []
    for (request, _), each in zip(admitted, read, strict=True):
        use(request.request_id)
        answers.append(each if isinstance(each, ApiError) else _answer(each, next(accepted)))
    return answers


RECEIPTS = SignedEndpoint(
    path="/v1/receipts",
    header=NODE_HEADER,
    most_bytes=settings.MAX_BATCH_BODY_BYTES,
    admit=partial(admit_nodes, limit="receipts"),
    take=take,
)


def _read(request: SignedRequest, caller: NodeCaller) -> _Body | ApiError:
    try:
        return _parsed(request, caller)
    except ApiError as error:
        return error


def _parsed(request: SignedRequest, caller: NodeCaller) -> _Body:
    """The receipts in a body, with the exact bytes of each, because they are the evidence. Raises ApiError."""
    body = request.body
    value = parse(body)
    if not isinstance(value, dict):
        raise invalid_request("The body must be a receipt, or an object with `receipts`.")
    if "receipts" not in value:
        if len(body) > SINGLE_BODY_BYTES:
            raise ApiError(413, "too_large", f"A single receipt is over {SINGLE_BODY_BYTES // 1024} KiB.")
        return _Body(Post(caller, [Posted(body, value)], request.traceparent), is_batch=False)
    listed = value["receipts"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_IN_A_BATCH:
        raise invalid_request(
            "Some fields are invalid.",
            [FieldProblem("receipts", f"a list of 1 to {MOST_IN_A_BATCH} receipts")],
        )
    exact = msgspec.json.decode(body, type=_Batch).receipts
    posted = [Posted(bytes(raw), payload) for raw, payload in zip(exact, listed, strict=True)]
    return _Body(Post(caller, posted, request.traceparent), is_batch=True)


def _answer(body: _Body, accepted: list[Verdict] | Exception) -> Answered:
    match accepted:
        case NodeError():
            return refusal(accepted)
        case Exception():
            return from_exception(accepted)
    if body.is_batch:
        return Answer({"results": [_result(verdict) for verdict in accepted]})
    (verdict,) = accepted
    if verdict.ruling not in (Ruling.ACCEPTED, Ruling.DUPLICATE):
        return _refusal(verdict)
    duplicate = verdict.ruling is Ruling.DUPLICATE
    answer = {
        "request_id": verdict.request_id,
        "node_id": body.post.caller.node_id,
        "verified": True,
        "duplicate": duplicate,
    }
    return Answer(answer, 200 if duplicate else 201)


_BATCH_STATUS = {Ruling.ACCEPTED: 201, Ruling.DUPLICATE: 200, Ruling.CONFLICT: 409}


def _result(verdict: Verdict) -> dict[str, Any]:
    result: dict[str, Any] = {
        "request_id": verdict.request_id,
        "status": _BATCH_STATUS.get(verdict.ruling, 422),
    }
    if verdict.ruling not in (Ruling.ACCEPTED, Ruling.DUPLICATE):
        result["error"] = _refusal(verdict).body()["error"]
    return result


def _refusal(verdict: Verdict) -> ApiError:
    match verdict.ruling:
        case Ruling.CONFLICT:
            return ApiError(
                409, verdict.ruling, "This node already has a different receipt with this request_id."
            )
        case Ruling.FORGED:
            return ApiError(422, verdict.ruling, "receipt signature verification failed")
        case Ruling.MISMATCH:
            return ApiError(
                403, verdict.ruling, "The receipt names a different node from the one that sent it."
            )
    problems = [FieldProblem(problem.field, problem.message) for problem in verdict.problems]
    return invalid_request("Some fields are invalid.", problems)
