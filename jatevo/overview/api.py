"""/v1/summary and /v1/incidents."""

from enum import StrEnum

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.accounts.models import User
from jatevo.overview.access import OverviewPermission, sees_small_regions
from jatevo.overview.kpis import snapshot
from jatevo.overview.models import Incident
from jatevo.overview.serializers import IncidentLine, Summary
from jatevo.web.address import client_network
from jatevo.web.errors import FieldProblem, invalid_request
from jatevo.web.openapi import CURSOR, LIMIT, either
from jatevo.web.paging import keyset_page, parse_limit
from jatevo.web.query_values import takes_query
from jatevo.web.throttling import hit


class IncidentFilter(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


@extend_schema(responses=Summary, auth=either("bearer", "cookie", nobody=True))
@api_view(["GET", "HEAD"])
@permission_classes([OverviewPermission])
@takes_query()
def summary(request: Request) -> Response:
    """The network in five figures. An unknown figure is null, never 0. A figure may be marked as stale."""
    _count(request)
    network = snapshot(at=timezone.now())
    figures = {
        "active_nodes": network.active_nodes.value,
        "p95_global": network.p95_ms.value,
        "p95_by_region": network.regions(fold_small=not sees_small_regions(request.user)),
        "models_cached": network.models_cached.value,
        "requests_24h": network.requests_24h.value,
        "as_of": network.as_of,
        "states": {
            "active_nodes": network.active_nodes,
            "p95_global": network.p95_ms,
            "models_cached": network.models_cached,
            "requests_24h": network.requests_24h,
        },
    }
    return Response(Summary(figures).data)


@extend_schema(
    auth=either("bearer", "cookie", nobody=True),
    parameters=[
        OpenApiParameter(
            "state",
            enum=list(IncidentFilter),
            description="resolved: over, so is maintenance that ended as planned",
        ),
        CURSOR,
        LIMIT,
    ],
    responses=inline_serializer(
        "IncidentPage", {"results": IncidentLine(many=True), "next": serializers.CharField(allow_null=True)}
    ),
)
@api_view(["GET", "HEAD"])
@permission_classes([OverviewPermission])
@takes_query("state", "cursor", "limit")
def incidents(request: Request) -> Response:
    """Incidents, newest first."""
    _count(request)
    found = Incident.objects.prefetch_related("updates")
    match request.query_params.get("state", ""):
        case "":
            pass
        case IncidentFilter.OPEN:
            found = found.open()
        case IncidentFilter.RESOLVED:
            found = found.resolved()
        case _:
            raise invalid_request("Some parameters are invalid.", [FieldProblem("state", "open or resolved")])
    page = keyset_page(
        found,
        cursor=request.query_params.get("cursor"),
        limit=parse_limit(request.query_params.get("limit")),
        fields=["-id"],
    )
    return Response({"results": IncidentLine(page.rows, many=True).data, "next": page.next})


def _count(request: Request) -> None:
    user = request.user
    hit("reads", user.email if isinstance(user, User) else client_network(request._request))
