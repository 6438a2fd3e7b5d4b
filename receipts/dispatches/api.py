"""POST /v1/dispatches."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, authentication_classes, parser_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.web.errors import ApiError, FieldProblem, invalid_request
from jatevo.web.openapi import GATEWAY, either
from jatevo.web.strict_json import parse_object
from nodes.ingress.authentication import authenticate_sender
from receipts.dispatches.openapi import DISPATCHES, MOST_IN_A_BATCH, RESULTS
from receipts.dispatches.payloads import Sent, Won, item
from receipts.dispatches.recording import Recorded, record
from receipts.models import Gateway


@extend_schema(
    request={"application/json": DISPATCHES},
    auth=either(GATEWAY),
    responses={200: RESULTS},
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def dispatches(request: Request) -> Response:
    """Report requests that the gateway sent to nodes, signed by it (X-Gateway-Id and the webhook- headers).

    A dispatch says which node a request went to, and a winner says which node's answer to a hedged request was
    used. Send up to 1000 of them as `dispatches`, or a single one as the body. Dispatches and receipts may
    arrive in either order. Repeating one is safe: its status is 200 instead of 201. One that contradicts an
    earlier one has the status 409 and changes nothing.
    """
    gateway_id = authenticate_sender(request._request, Gateway)
    body = parse_object(request._request.body)
    if "dispatches" not in body and "request_id" in body:
        (result,) = _take(gateway_id, [body])
        if isinstance(result, ApiError):
            raise result
        return Response({"results": [result]})
    listed = body.get("dispatches")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_IN_A_BATCH:
        raise invalid_request(
            "Some fields are invalid.",
            [FieldProblem("dispatches", f"a list of 1 to {MOST_IN_A_BATCH} dispatches")],
        )
    results = zip(listed, _take(gateway_id, listed), strict=True)
    return Response(
        {
            "results": [
                _refused(said, result) if isinstance(result, ApiError) else result for said, result in results
            ]
        }
    )


def _take(gateway_id: str, listed: list[Any]) -> list[dict[str, Any] | ApiError]:
    """The result of each item: what is answered, or why it is refused."""
    at = timezone.now()
    judged = [_judge(said, at) for said in listed]
    good = [each for each in judged if not isinstance(each, ApiError)]
    outcomes = iter(record(gateway_id=gateway_id, said=good, at=at) if good else ())
    return [each if isinstance(each, ApiError) else _result(each, next(outcomes)) for each in judged]


def _judge(said: Any, at: Any) -> Sent | Won | ApiError:
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
