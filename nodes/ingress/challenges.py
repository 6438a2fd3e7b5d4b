"""Taking answers to challenges, many at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.utils import timezone

from jatevo.web.errors import ApiError, from_exception
from jatevo.web.request_id import use
from jatevo.web.strict_json import parse_object
from nodes import actions
from nodes.ingress import payloads
from nodes.ingress.authentication import NODE_HEADER, NodeCaller, admit_nodes
from nodes.ingress.refusals import refusal, require_same
from nodes.ingress.signed import Answer, Locked, SignedEndpoint, SignedRequest, Taken
from nodes.rules.challenges import ChallengeOutcome
from nodes.rules.probes import ProbeFault


def take(admitted: Sequence[tuple[SignedRequest, NodeCaller]]) -> list[Taken]:
    """Judges the answers. Of several, those that do not simply pass are left out as Locked."""
    read = [_read(request, caller) for request, caller in admitted]
    sent = [each for each in read if not isinstance(each, ApiError)]
    passed = iter(actions.pass_challenges(sent=sent, at=timezone.now()) if sent else ())
    answers: list[Taken] = []
    for (request, _), each in zip(admitted, read, strict=True):
        use(request.request_id)
        if isinstance(each, ApiError):
            answers.append(each)
        elif (taken := next(passed)) is not None:
            answers.append(_answer(taken))
        else:
            answers.append(_alone(each) if len(admitted) == 1 else Locked())
    return answers


CHALLENGES = SignedEndpoint(
    path="/v1/nodes/challenge",
    header=NODE_HEADER,
    most_bytes=settings.MAX_BODY_BYTES,
    admit=partial(admit_nodes, limit="node"),
    take=take,
)


def _read(request: SignedRequest, caller: NodeCaller) -> actions.SentAnswer | ApiError:
    try:
        node_id, answer = payloads.challenge_answer(parse_object(request.body))
        require_same(caller.node_id, node_id)
    except ApiError as error:
        return error
    current, *former = [span.public_key for span in caller.keys]
    # what waits for others is not late
    at = datetime.fromtimestamp(request.received_at, UTC)
    return actions.SentAnswer(caller.node_id, answer, at, current, former)


def _alone(sent: actions.SentAnswer) -> Taken:
    try:
        return _answer(actions.answer_challenge(sent=sent, at=timezone.now()))
    except actions.NodeError as error:
        return refusal(error)
    except Exception as error:
        return from_exception(error)


def _answer(taken: actions.TakenAnswer) -> Answer | ApiError:
    settled = taken.challenge
    if settled.fault in (ProbeFault.BAD_SIGNATURE, ProbeFault.BAD_ANSWER):
        return ApiError(422, "invalid_signature", "The signature does not match the node's current key.")
    return Answer(
        {
            "id": settled.pk,
            "status": taken.status,
            "passed": settled.outcome == ChallengeOutcome.PASSED,
            "answer_ms": settled.answer_ms,
        }
    )
