"""/v1/enrollments and the routes of /v1/nodes for people. Those for machines are in nodes/ingress/api.py."""

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.accounts.models import Org, User
from jatevo.accounts.permissions import Permission, allowed, api_permission, user_of
from jatevo.web.errors import ApiError, FieldProblem, invalid_request, not_found
from jatevo.web.openapi import CURSOR, LIMIT, text_parameter
from jatevo.web.paging import keyset_page, parse_limit
from jatevo.web.query_values import takes_query
from jatevo.web.throttling import hit
from nodes import actions
from nodes.access.names import NodeNames
from nodes.access.rights import owned_node, rights_of
from nodes.ingress.payloads import sane_node_id
from nodes.ingress.refusals import refuse
from nodes.list.facets import ATTENTION
from nodes.list.filters import NodeFilter
from nodes.models import Enrollment, Node, Runtime
from nodes.rules.lifecycle import Status
from nodes.rules.reachability import Reachability
from nodes.serializers import EnrollmentAnswer, EnrollmentLine, EnrollmentRequest, NodeDetail, NodeSummary

_TOKEN_ANSWER = inline_serializer(
    "NodeToken", {"node_id": serializers.CharField(), "node_token": serializers.CharField()}
)


@extend_schema(
    methods=["GET"],
    operation_id="enrollments_list",
    parameters=[CURSOR, LIMIT],
    responses=inline_serializer(
        "EnrollmentPage",
        {"results": EnrollmentLine(many=True), "next": serializers.CharField(allow_null=True)},
    ),
    summary="Open enrolments",
    description="Those whose token still registers a node, newest first, without the tokens: your"
    " organisation's, an admin's of all.",
)
@extend_schema(
    methods=["POST"], request=EnrollmentRequest, responses={201: EnrollmentAnswer}, summary="Enrol a node"
)
@api_view(["GET", "HEAD", "POST"])
@permission_classes([api_permission(Permission.ENROL_NODES)])
@takes_query("cursor", "limit")
def enrollments(request: Request) -> Response:
    """Create an enrolment. Its token registers one node, is shown once and expires after 24 hours."""
    return _enrol(request) if request.method == "POST" else _open_enrollments(request)


@extend_schema(
    responses={204: OpenApiResponse(description="Ended, or was over already")}, summary="End an enrolment"
)
@api_view(["DELETE"])
@permission_classes([api_permission(Permission.ENROL_NODES)])
def enrollment(request: Request, enrollment_id: UUID) -> Response:
    """End an enrolment, so that its token no longer registers a node.

    Nodes already registered with it stay.
    """
    user = user_of(request)
    found = Enrollment.objects.manageable_by(user).filter(pk=enrollment_id).first()
    if found is None:
        raise not_found()
    actions.end_enrollment(enrollment=found, by=user, at=timezone.now())
    return Response(status=204)


@extend_schema(
    operation_id="nodes_list",
    parameters=[
        OpenApiParameter(
            "status",
            enum=[*Status, ATTENTION],
            description="one of the statuses, or `attention` for quarantine and offline",
        ),
        OpenApiParameter(
            "reachable", enum=[*Reachability], description="whether validators reach the node's endpoint"
        ),
        text_parameter("region", 32),
        OpenApiParameter("runtime", enum=Runtime.values),
        OpenApiParameter(
            "reputation_range",
            {"type": "string", "pattern": "^(100|[0-9]{1,2})-(100|[0-9]{1,2})$"},
            description="such as 40-90",
        ),
        text_parameter("q", 64, "part of the node's name, region, models or GPU"),
        OpenApiParameter("mine", enum=["1"], description="`1`: those of your organisation"),
        CURSOR,
        LIMIT,
    ],
    responses=inline_serializer(
        "NodePage", {"results": NodeSummary(many=True), "next": serializers.CharField(allow_null=True)}
    ),
)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_NODES)])
@takes_query(*NodeFilter.Meta.fields, "cursor", "limit")
def node_list(request: Request) -> Response:
    """The nodes that you may see, ordered by name."""
    hit("reads", user_of(request).email)
    names = NodeNames.of(request.user)
    visible = names.annotated(Node.objects.visible_to(request.user))
    chosen = NodeFilter(request.query_params, queryset=visible, names=names, org=user_of(request).org)
    if not chosen.is_valid():
        raise _bad_parameters(chosen.errors)
    page = keyset_page(
        chosen.qs.select_related("standing"),
        cursor=request.query_params.get("cursor"),
        limit=parse_limit(request.query_params.get("limit")),
        # ordered by the names shown to the reader, so that neither order nor cursor reveals an id
        fields=["id" if names.everything else "shown_name"],
    )
    lines = NodeSummary(page.rows, many=True, context={"names": names, "at": timezone.now()})
    return Response({"results": lines.data, "next": page.next})


@extend_schema(responses=NodeDetail)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_NODES)])
@takes_query()
def node_detail(request: Request, node_id: str) -> Response:
    """One node with its attestation, keys, latest metrics, probes, transitions and last receipts.

    If you may not know its id, use its pseudonym; whatever identifies the node is left out.
    """
    hit("reads", user_of(request).email)
    names = NodeNames.of(request.user)
    visible = Node.objects.visible_to(request.user).select_related("attestation", "standing")
    node = names.find(visible, node_id)
    if node is None:
        raise not_found()
    rights = rights_of(request.user, node, names)
    context = {"request": request, "names": names, "rights": rights, "at": timezone.now()}
    return Response(NodeDetail(node, context=context).data)


@extend_schema(request=None, responses=_TOKEN_ANSWER)
@api_view(["POST"])
@permission_classes([api_permission(Permission.MANAGE_NODES)])
def rotate_token(request: Request, node_id: str) -> Response:
    """Give the node a new token. The old one stops working at once."""
    user = user_of(request)
    node = owned_node(user, node_id)
    return Response(
        {"node_id": node.pk, "node_token": actions.rotate_token(node=node, by=user, at=timezone.now())}
    )


def _bad_parameters(errors: dict[str, Any]) -> ApiError:
    problems = [FieldProblem(field, str(text)) for field, texts in errors.items() for text in texts]
    return invalid_request("Some parameters are invalid.", problems)


def _open_enrollments(request: Request) -> Response:
    user = user_of(request)
    hit("reads", user.email)
    page = keyset_page(
        Enrollment.objects.manageable_by(user).good(timezone.now()).select_related("org", "created_by"),
        cursor=request.query_params.get("cursor"),
        limit=parse_limit(request.query_params.get("limit")),
        fields=["-created_at", "-id"],
    )
    return Response({"results": EnrollmentLine(page.rows, many=True).data, "next": page.next})


def _enrol(request: Request) -> Response:
    user = user_of(request)
    form = EnrollmentRequest(data=request.data)
    form.is_valid(raise_exception=True)
    wanted = form.validated_data
    if wanted["uses"] > 1 and not allowed(user, Permission.ENROL_FLEETS):
        raise ApiError(403, "forbidden", "Only an admin can create a token with several uses.")
    try:
        made, token = actions.enrol(
            org=_org(user, wanted),
            by=user,
            at=timezone.now(),
            node_id=sane_node_id("node_id", wanted["node_id"]),
            region=wanted["region"],
            runtime=wanted["runtime"],
            uses=wanted["uses"],
        )
    except actions.NodeError as error:
        refuse(error)
    return Response(
        {"id": made.pk, "token": token, "node_id": made.node_id or None, "expires_at": made.expires_at},
        status=201,
    )


def _org(user: User, wanted: dict[str, Any]) -> Org:
    org_id = wanted.get("org")
    if org_id is not None and org_id != user.org_id:
        org = Org.objects.filter(pk=org_id).first() if user.is_admin else None
        if org is None:
            raise not_found()
        return org
    if user.org is not None:
        return user.org
    orgs = list(Org.objects.all()[:2])
    if len(orgs) != 1:  # if there is only one organisation, it is the default
        raise invalid_request("Some fields are invalid.", [FieldProblem("org", "is required")])
    return orgs[0]
