"""/v1/receipts."""

from dataclasses import asdict

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
from jatevo.web.postgresql.replica import read
from jatevo.web.query_values import takes_query
from jatevo.web.strict_json import parse
from jatevo.web.throttling import hit
from jatevo.wire.schema import RequestOutcome
from receipts.aggregates import aggregates_of
from receipts.filters import SHA256_PATTERN, ReceiptFilter, SigningKey
from receipts.models import Receipt, find_receipt
from receipts.openapi import ALREADY_OR_BATCH, RECEIPT, RECEIPT_OR_BATCH, TAKEN
from receipts.posting import RECEIPTS
from receipts.search.finding import find_page, page_after
from receipts.serializers import AggregatesAnswer, ReceiptDetail, ReceiptLine
from receipts.slots import PAYMENT_STATES, payments
from receipts.verify import verify

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
def receipts(request: Request) -> HttpResponse:
    """POST: a node posts one receipt, or up to 500. GET: the receipts that you may see, newest first."""
    return RECEIPTS.respond(request._request) if request.method == "POST" else _list(request)


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

    def answer() -> dict[str, object]:
        page = find_page(chosen.qs, wanted, chosen, user, at=now)
        return {
            "results": ReceiptLine(page.rows, many=True, context={"payments": payments(page.rows)}).data,
            "next": page.next,
            "aggregates": asdict(aggregates_of(chosen, user, at=now)),
        }

    return Response(read(answer))


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
    receipt = read(lambda: find_receipt(user, node_id, request_id))
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
