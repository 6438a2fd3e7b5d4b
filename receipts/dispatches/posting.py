"""Taking what gateways post: dispatches and winners."""

from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.utils import timezone

from jatevo.web.errors import ApiError, FieldProblem, invalid_request
from jatevo.web.strict_json import parse_object
from nodes.ingress.authentication import SenderCaller, admit_senders
from nodes.ingress.signed import Answer, SignedEndpoint, SignedRequest, one_by_one
from receipts.dispatches.openapi import MOST_IN_A_BATCH
from receipts.dispatches.payloads import Sent, Won, item
from receipts.dispatches.recording import Recorded, record
from receipts.models import Gateway


def _answer(request: SignedRequest, caller: SenderCaller) -> Answer:
    body = parse_object(request.body)
    if "dispatches" not in body and "request_id" in body:
        (result,) = _take(caller.sender_id, [body])
        if isinstance(result, ApiError):
            raise result
        return Answer({"results": [result]})
    listed = body.get("dispatches")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_IN_A_BATCH:
        raise invalid_request(
            "Some fields are invalid.",
            [FieldProblem("dispatches", f"a list of 1 to {MOST_IN_A_BATCH} dispatches")],
        )
    results = zip(listed, _take(caller.sender_id, listed), strict=True)
    return Answer(
        {
            "results": [
                _refused(said, result) if isinstance(result, ApiError) else result for said, result in results
            ]
        }
    )


DISPATCHES = SignedEndpoint(
    path="/v1/dispatches",
    header=Gateway.header,
    most_bytes=settings.MAX_BATCH_BODY_BYTES,
    admit=partial(admit_senders, model=Gateway),
    take=one_by_one(_answer),
)


def _take(gateway_id: str, listed: list[Any]) -> list[dict[str, Any] | ApiError]:
    """The result of each item: what is answered, or why it is refused."""
    at = timezone.now()
    judged = [_judge(said, at) for said in listed]
    good = [each for each in judged if not isinstance(each, ApiError)]
    outcomes = iter(record(gateway_id=gateway_id, said=good, at=at) if good else ())
    return [each if isinstance(each, ApiError) else _result(each, next(outcomes)) for each in judged]


def _judge(said: Any, at: datetime) -> Sent | Won | ApiError:
    try:
        return item(said, at=at)
    except ApiError as error:
        return error


def _result(statement: Sent | Won, outcome: Recorded) -> dict[str, Any] | ApiError:
    if outcome is Recorded.CONFLICT:
        about = "the winner of this request" if isinstance(statement, Won) else "this request and node"
        return ApiError(409, outcome, f"An earlier statement about {about} says something else. It stands.")
    return {"request_id": statement.request_id, "status": 201 if outcome is Recorded.NEW else 200}


def _refused(said: Any, error: ApiError) -> dict[str, Any]:
    named = said.get("request_id") if isinstance(said, dict) else None
    request_id = named[:128] if isinstance(named, str) else None
    return {"request_id": request_id, "status": error.status, "error": error.body()["error"]}
