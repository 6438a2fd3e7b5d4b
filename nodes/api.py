"""/v1/enrollments, /v1/nodes and /v1/probes."""

import time
from dataclasses import asdict
from typing import Any, NoReturn

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, parser_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.accounts.authentication import JwtAuthentication
from jatevo.accounts.models import Org, User
from jatevo.accounts.permissions import Permission, allowed, api_permission, user_of
from jatevo.audit.record import Actor, actor_of
from jatevo.web.address import client_address
from jatevo.web.errors import ApiError, FieldProblem, invalid_request, not_found, unauthenticated
from jatevo.web.paging import keyset_page, parse_limit
from jatevo.web.strict_json import parse_object
from jatevo.web.throttling import hit
from nodes import actions, payloads
from nodes.assignments import POLL_AFTER_SECONDS, due_assignments
from nodes.authentication import NODE_HEADER, authenticate_node, authenticate_validator
from nodes.credentials import public_key_text
from nodes.filters import NodeFilter
from nodes.models import Node
from nodes.proof import key_statement_signed
from nodes.rights import rights_of
from nodes.serializers import EnrollmentAnswer, EnrollmentRequest, KeyAnswer, NodeDetail, NodeSummary
from nodes.sight import Sight

_SERVER_TIME = serializers.FloatField(help_text="unix seconds")
_TOKEN_ANSWER = inline_serializer(
    "NodeToken", {"node_id": serializers.CharField(), "node_token": serializers.CharField()}
)


@extend_schema(request=EnrollmentRequest, responses={201: EnrollmentAnswer})
@api_view(["POST"])
@permission_classes([api_permission(Permission.ENROL_NODES)])
def enrollments(request: Request) -> Response:
    """Ask for a node: a token that registers one node, shown once, good for 24 hours."""
    user = user_of(request)
    form = EnrollmentRequest(data=request.data)
    form.is_valid(raise_exception=True)
    wanted = form.validated_data
    if wanted["uses"] > 1 and not allowed(user, Permission.ENROL_FLEETS):
        raise ApiError(403, "forbidden", "Only an admin may ask for a token of many uses.")
    try:
        enrollment, token = actions.enrol(
            org=_org(user, wanted),
            by=user,
            at=timezone.now(),
            node_id=payloads.sane_node_id("node_id", wanted["node_id"]),
            region=wanted["region"],
            runtime=wanted["runtime"],
            uses=wanted["uses"],
        )
    except actions.NodeError as error:
        _refuse(error)
    return Response(
        {"token": token, "node_id": enrollment.node_id or None, "expires_at": enrollment.expires_at},
        status=201,
    )


@extend_schema(
    request={"application/json": {"type": "object"}},
    responses={
        201: inline_serializer(
            "Registered",
            {
                "node_id": serializers.CharField(),
                "status": serializers.CharField(),
                "node_token": serializers.CharField(),
                "heartbeat_interval_s": serializers.IntegerField(),
                "server_time": _SERVER_TIME,
            },
        )
    },
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def register(request: Request) -> Response:
    """An agent registers with its enrolment token (`Authorization: Bearer jve_…`)."""
    hit("register", client_address(request._request))
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthenticated()
    wanted = payloads.registration(parse_object(request._request.body))
    try:
        node, node_token = actions.register(token=token.strip(), registration=wanted, at=timezone.now())
    except actions.NodeError as error:
        _refuse(error)
    return Response(
        {
            "node_id": node.pk,
            "status": node.status,
            "node_token": node_token,
            "heartbeat_interval_s": settings.HEARTBEAT_INTERVAL_SECONDS,
            "server_time": _server_time(),
        },
        status=201,
    )


@extend_schema(
    request={"application/json": {"type": "object"}},
    responses=inline_serializer(
        "HeartbeatAnswer",
        {
            "status": serializers.CharField(),
            "server_time": _SERVER_TIME,
            "heartbeat_interval_s": serializers.IntegerField(),
        },
    ),
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def heartbeat(request: Request) -> Response:
    """A sign of life, signed by the node (X-Node-Id and the webhook- headers)."""
    caller = authenticate_node(request._request, limit="node")
    named, beat = payloads.beat(parse_object(request._request.body))
    _require_same(caller.node_id, named)
    if beat.ts > time.time() + settings.CLOCK_TOLERANCE_SECONDS:
        # taken, it would make every honest heartbeat until then look old
        raise ApiError(
            401, "clock_skew", "The ts is ahead of the server's clock.", server_time=_server_time()
        )
    try:
        status = actions.heartbeat(node_id=caller.node_id, beat=beat, at=timezone.now())
    except actions.NodeError as error:
        _refuse(error)
    return Response(
        {
            "status": status,
            "server_time": _server_time(),
            "heartbeat_interval_s": settings.HEARTBEAT_INTERVAL_SECONDS,
        }
    )


@extend_schema(
    operation_id="nodes_list",
    parameters=[
        OpenApiParameter("status"),
        OpenApiParameter("region"),
        OpenApiParameter("runtime"),
        OpenApiParameter("reputation_range", description="such as 40-90"),
        OpenApiParameter("q", description="part of the node's name, region, models or GPU"),
        OpenApiParameter("cursor"),
        OpenApiParameter("limit", int),
    ],
    responses=inline_serializer(
        "NodePage", {"results": NodeSummary(many=True), "next": serializers.CharField(allow_null=True)}
    ),
)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_NODES)])
def node_list(request: Request) -> Response:
    """The nodes that you may see, by id."""
    hit("reads", user_of(request).email)
    sight = Sight.of(request.user)
    visible = sight.with_names(Node.objects.visible_to(request.user))
    chosen = NodeFilter(request.query_params, queryset=visible, sight=sight)
    if not chosen.is_valid():
        raise _bad_parameters(chosen.errors)
    page = keyset_page(
        chosen.qs.select_related("standing"),
        cursor=request.query_params.get("cursor"),
        limit=parse_limit(request.query_params.get("limit")),
        # by the names that the reader knows: neither the order nor a cursor may tell another one
        fields=["id" if sight.everything else "shown_name"],
    )
    lines = NodeSummary(page.rows, many=True, context={"sight": sight, "at": timezone.now()})
    return Response({"results": lines.data, "next": page.next})


@extend_schema(responses=NodeDetail)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_NODES)])
def node_detail(request: Request, node_id: str) -> Response:
    """One node with its attestation, keys, latest metrics, probes, transitions and last receipts.

    Who may not know the node finds it under its pseudonym alone, without what would name it.
    """
    hit("reads", user_of(request).email)
    sight = Sight.of(request.user)
    visible = Node.objects.visible_to(request.user).select_related("attestation", "standing")
    node = sight.find(visible, node_id)
    if node is None:
        raise not_found()
    rights = rights_of(request.user, node, sight)
    context = {"request": request, "sight": sight, "rights": rights, "at": timezone.now()}
    return Response(NodeDetail(node, context=context).data)


@extend_schema(request=None, responses=_TOKEN_ANSWER)
@api_view(["POST"])
@permission_classes([api_permission(Permission.MANAGE_NODES)])
def rotate_token(request: Request, node_id: str) -> Response:
    """A new node token; the old one ends at once."""
    user = user_of(request)
    node = _own_node(user, node_id)
    return Response(
        {"node_id": node.pk, "node_token": actions.rotate_token(node=node, by=user, at=timezone.now())}
    )


@extend_schema(
    request=inline_serializer(
        "NewKey",
        {
            "public_key": serializers.CharField(),
            "signature": serializers.CharField(
                required=False,
                help_text="of an agent: the current key's, over `jatevo-key:{node_id}:{public_key}`",
            ),
        },
    ),
    responses={201: KeyAnswer},
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def add_key(request: Request, node_id: str) -> Response:
    """A new public key; the one before stays on record. From the owner, or from the node itself.

    The node signs the request like a heartbeat, and proves with `signature` that it still holds its key.
    """
    if request.headers.get(NODE_HEADER):
        caller = authenticate_node(request._request, limit="node")
        _require_same(caller.node_id, node_id)
        public_key, said = payloads.new_key(parse_object(request._request.body))
        if not key_statement_signed(node_id, said.public_key, said.signature, caller.keys[0].public_key):
            raise ApiError(422, "invalid_signature", "The signature is not the current key's.")
        node, by = Node.objects.get(pk=node_id), Actor("node", node_id)
    else:
        user = _sign_in(request)
        if not allowed(user, Permission.MANAGE_NODES):
            raise ApiError(403, "forbidden", "Your role may not do this.")
        node, by = _own_node(user, node_id), actor_of(user)
        public_key, _ = payloads.new_key(parse_object(request._request.body))
    try:
        key = actions.add_key(node=node, public_key=public_key, by=by, at=timezone.now())
    except actions.NodeError as error:
        _refuse(error)
    return Response(
        {
            "public_key": public_key_text(public_key),
            "valid_from": key.valid_from,
            "valid_to": key.valid_to,
        },
        status=201,
    )


@extend_schema(
    request={"application/json": {"type": "object"}},
    responses={
        201: inline_serializer(
            "ProbeTaken",
            {
                "id": serializers.UUIDField(),
                "node_id": serializers.CharField(),
                "status": serializers.CharField(),
            },
        )
    },
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def probes(request: Request) -> Response:
    """What a validator measured, signed by it (X-Validator-Id and the webhook- headers)."""
    caller = authenticate_validator(request._request)
    wanted = payloads.measurement(parse_object(request._request.body))
    at = timezone.now()
    if abs((at - wanted.ts).total_seconds()) > settings.CLOCK_TOLERANCE_SECONDS:
        raise invalid_request("Some fields are invalid.", [FieldProblem("ts", "is not the present time")])
    try:
        probe, status = actions.record_probe(validator_id=caller.validator_id, measurement=wanted, at=at)
    except actions.NodeError as error:
        _refuse(error)
    return Response({"id": probe.pk, "node_id": wanted.node_id, "status": status}, status=201)


@extend_schema(
    responses=inline_serializer(
        "Assignments",
        {
            "assignments": serializers.ListField(child=serializers.DictField()),
            "poll_after_s": serializers.IntegerField(),
            "server_time": _SERVER_TIME,
        },
    )
)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([])
def assignments(request: Request) -> Response:
    """The nodes that are due for a probe, for a validator (signed over an empty body)."""
    authenticate_validator(request._request)
    due = [asdict(assignment) for assignment in due_assignments(at=timezone.now())]
    return Response({"assignments": due, "poll_after_s": POLL_AFTER_SECONDS, "server_time": _server_time()})


_STATUS: dict[type[actions.NodeError], tuple[int, str]] = {
    actions.NodeExists: (409, "node_exists"),
    actions.EnrollmentInvalid: (401, "invalid_token"),
    actions.EnrollmentMismatch: (403, "node_mismatch"),
    actions.StaleHeartbeat: (409, "replayed_request"),
    actions.ReplayedProbe: (409, "replayed_request"),
    actions.UnknownNode: (404, "not_found"),
    actions.KeyRefused: (422, "invalid_request"),
}


def _refuse(error: actions.NodeError) -> NoReturn:
    status, kind = _STATUS.get(type(error), (422, "invalid_request"))
    raise ApiError(status, kind, str(error)) from error


def _bad_parameters(errors: dict[str, Any]) -> ApiError:
    problems = [FieldProblem(field, str(text)) for field, texts in errors.items() for text in texts]
    return invalid_request("Some parameters are invalid.", problems)


def _require_same(authenticated: str, named: str) -> None:
    if authenticated != named:
        raise ApiError(403, "node_mismatch", f"Signed by {authenticated}, but about {named}.")


def _own_node(user: User, node_id: str) -> Node:
    node = Node.objects.owned_by(user).filter(pk=node_id).first()
    if node is None:
        raise not_found()
    return node


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
    if len(orgs) != 1:  # where there is one organisation, it is meant
        raise invalid_request("Some fields are invalid.", [FieldProblem("org", "say for which organisation")])
    return orgs[0]


def _sign_in(request: Request) -> User:
    """The user, on a route that machines use too and that therefore names no authentication class."""
    found = JwtAuthentication().authenticate(request)
    if found is None or not isinstance(found[0], User):
        raise unauthenticated()
    return found[0]


def _server_time() -> float:
    return round(time.time(), 3)
