"""POST /v1/dispatches."""

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, authentication_classes, parser_classes, permission_classes
from rest_framework.request import Request

from jatevo.web.openapi import GATEWAY, either
from receipts.dispatches import openapi
from receipts.dispatches.posting import DISPATCHES


@extend_schema(
    request={"application/json": openapi.DISPATCHES},
    auth=either(GATEWAY),
    responses={200: openapi.RESULTS},
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def dispatches(request: Request) -> HttpResponse:
    """Report requests that the gateway sent to nodes, signed by it (X-Gateway-Id and the webhook- headers).

    A dispatch says which node a request went to, and a winner says which node's answer to a hedged request was
    used. Send up to 1000 of them as `dispatches`, or a single one as the body. Dispatches and receipts may
    arrive in either order. Repeating one is safe: its status is 200 instead of 201. One that contradicts an
    earlier one has the status 409 and changes nothing.
    """
    return DISPATCHES.respond(request._request)
