"""/v1/receipts."""

from dataclasses import asdict
from typing import Any

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, parser_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.accounts.authentication import JwtAuthentication
from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed, api_permission
from jatevo.web.errors import ApiError, FieldProblem, invalid_request, not_found, unauthenticated
from jatevo.web.openapi import CURSOR, LIMIT, NODE, either, moment_parameter, text_parameter
from jatevo.web.paging import parse_limit
from jatevo.web.query_values import takes_query
from jatevo.web.strict_json import parse
from jatevo.web.throttling import hit
from jatevo.wire.schema import RequestOutcome
from nodes.ingress.authentication import NodeCaller, authenticate_node
from receipts.actions import Posted, Ruling, Verdict, accept
from receipts.aggregates import aggregates_of
from receipts.filters import SHA256_PATTERN, ReceiptFilter, SigningKey
from receipts.models import Receipt
from receipts.openapi import ALREADY_OR_BATCH, MOST_IN_A_BATCH, RECEIPT, RECEIPT_OR_BATCH, TAKEN
from receipts.search.finding import find_page, page_after
from receipts.serializers import AggregatesAnswer, ReceiptDetail, ReceiptLine
from receipts.slots import PAYMENT_STATES, payments
from receipts.verify import verify

SINGLE_BODY_BYTES = 256 * 1024

_FILTERS = [
    text_parameter("node_id", 64),
    text_parameter("request_id", 128),
    text_parameter("model_id", 128),
    text_parameter("region", 32),
    OpenApiParameter("hedged", enum=["true", "false"]),
    OpenApiParameter("cache_hit", enum=["true", "false"]),
    OpenApiParameter(
        "outcome",
        enum=[each.value for each in RequestOutcome],
        description="`ok` includes receipts that state no outcome",
    ),
    OpenApiParameter("payment", enum=list(PAYMENT_STATES), description="the `state` of `payment`"),
    OpenApiParameter(
        "key",
        enum=[each.value for each in SigningKey],
        description="The key that signed it: the node's `current` one when it was accepted, or a `former` one.",
    ),
    OpenApiParameter(
        "sha256",
        {"type": "string", "pattern": SHA256_PATTERN},
        description="the SHA-256 of the receipt's exact bytes, in hex",
    ),
    moment_parameter("from", "Accepted at or after."),
    moment_parameter("to", "Accepted before that time, or until that day is over."),
    CURSOR,
    LIMIT,
]
RECEIPT_PARAMETERS = tuple(parameter.name for parameter in _FILTERS)


class _Batch(msgspec.Struct):
    receipts: list[msgspec.Raw]


@extend_schema(
    methods=["POST"],
    request={"application/json": RECEIPT_OR_BATCH},
    auth=either(NODE),
    responses={
        201: TAKEN,
        200: ALREADY_OR_BATCH,
    },
)
@extend_schema(
    methods=["GET"],
    operation_id="receipts_list",
    auth=either("bearer", "cookie"),
    parameters=_FILTERS,
    responses=inline_serializer(
        "ReceiptPage",
        {
            "results": ReceiptLine(many=True),
            "next": serializers.CharField(allow_null=True),
            "aggregates": AggregatesAnswer(),
        },
    ),
)
@api_view(["GET", "HEAD", "POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
@takes_query(*RECEIPT_PARAMETERS)
def receipts(request: Request) -> Response:
    """POST: a node posts one receipt, or up to 500. GET: the receipts that you may see, newest first."""
    return _take(request) if request.method == "POST" else _list(request)


def _take(request: Request) -> Response:
    caller = authenticate_node(request._request, limit="receipts")
    body = request._request.body
    value = parse(body)
    if not isinstance(value, dict):
        raise invalid_request("The body must be a receipt, or an object with `receipts`.")
    if "receipts" in value:
        return _take_batch(caller, body, value)
    if len(body) > SINGLE_BODY_BYTES:
        raise ApiError(413, "too_large", f"A single receipt is over {SINGLE_BODY_BYTES // 1024} KiB.")
    (verdict,) = accept(caller=caller, posted=[Posted(body, value)], at=timezone.now())
    if verdict.ruling not in (Ruling.ACCEPTED, Ruling.DUPLICATE):
        raise _refusal(verdict)
    duplicate = verdict.ruling is Ruling.DUPLICATE
    answer = {
        "request_id": verdict.request_id,
        "node_id": caller.node_id,
        "verified": True,
        "duplicate": duplicate,
    }
    return Response(answer, status=200 if duplicate else 201)


def _take_batch(caller: NodeCaller, body: bytes, value: dict[str, Any]) -> Response:
    listed = value["receipts"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_IN_A_BATCH:
        raise invalid_request(
            "Some fields are invalid.",
            [FieldProblem("receipts", f"a list of 1 to {MOST_IN_A_BATCH} receipts")],
        )
    # the exact bytes of each receipt in the body, because they are the evidence
    exact = msgspec.json.decode(body, type=_Batch).receipts
    posted = [Posted(bytes(raw), payload) for raw, payload in zip(exact, listed, strict=True)]
    verdicts = accept(caller=caller, posted=posted, at=timezone.now())
    return Response({"results": [_result(verdict) for verdict in verdicts]})


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


def _list(request: Request) -> Response:
    user = _reader(request)
    hit("reads", user.email)
    chosen = ReceiptFilter(
        request.query_params, queryset=Receipt.objects.visible_to(user).defer("raw", "payload")
    )
    if not chosen.is_valid():
        raise invalid_request(
            "Some parameters are invalid.",
            [FieldProblem(field, str(text)) for field, texts in chosen.errors.items() for text in texts],
        )
    now, limit = timezone.now(), parse_limit(request.query_params.get("limit"))
    wanted = page_after(chosen.qs, request.query_params.get("cursor"), limit=limit)
    page = find_page(chosen.qs, wanted, chosen, user, at=now)
    return Response(
        {
            "results": ReceiptLine(page.rows, many=True, context={"payments": payments(page.rows)}).data,
            "next": page.next,
            "aggregates": asdict(aggregates_of(chosen, user, at=now)),
        }
    )


@extend_schema(responses=ReceiptDetail)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_RECEIPTS)])
@takes_query()
def receipt_detail(request: Request, node_id: str, request_id: str) -> Response:
    """The record, its payload, and the result of verifying it now."""
    receipt = _visible(request.user, node_id, request_id)
    verification = verify(receipt)
    line = ReceiptLine(receipt, context={"payments": payments([receipt])}).data
    checks = [
        {**asdict(check), "compared": [each._asdict() for each in check.compared]}
        for check in verification.checks
    ]
    return Response(
        {
            **line,
            "payload": parse(bytes(receipt.raw)),
            "verification": {"valid": verification.valid, "checks": checks},
        }
    )


@extend_schema(responses={(200, "application/json"): RECEIPT})
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_RECEIPTS)])
@takes_query()
def receipt_raw(request: Request, node_id: str, request_id: str) -> HttpResponse:
    """The exact bytes that the node posted, as a download."""
    receipt = _visible(request.user, node_id, request_id)
    name = f"{node_id}_{request_id}.json".replace(":", "-").replace("~", "-")
    return HttpResponse(
        bytes(receipt.raw),
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _visible(user: object, node_id: str, request_id: str) -> Receipt:
    receipt = Receipt.objects.visible_to(user).filter(node_id=node_id, request_id=request_id).first()
    if receipt is None:
        raise not_found()
    return receipt


def _reader(request: Request) -> User:
    """The user of the request. The route has no authentication class, because agents post to it too."""
    found = JwtAuthentication().authenticate(request)
    if found is None or not isinstance(found[0], User):
        raise unauthenticated()
    if not allowed(found[0], Permission.VIEW_RECEIPTS):
        raise ApiError(403, "forbidden", "You do not have permission to do this.")
    return found[0]
