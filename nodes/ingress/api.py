"""Routes for agents and validators: registrations, heartbeats, keys and probes."""

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, parser_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.accounts.authentication import JwtAuthentication
from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.audit.record import Actor, actor_of
from jatevo.web.address import client_network
from jatevo.web.errors import ApiError, unauthenticated
from jatevo.web.openapi import ENROLMENT, NODE, VALIDATOR, either, json_body
from jatevo.web.query_values import takes_query
from jatevo.web.strict_json import parse_object
from jatevo.web.throttling import hit
from jatevo.wire.keys import public_key_text
from jatevo.wire.signing import verify_key_change
from nodes import actions
from nodes.access.rights import owned_node
from nodes.ingress import payloads
from nodes.ingress.answers import KeyAnswer
from nodes.ingress.assignments import POLL_AFTER_SECONDS, due_assignments
from nodes.ingress.authentication import NODE_HEADER, authenticate_node, authenticate_sender
from nodes.ingress.challenges import CHALLENGES
from nodes.ingress.heartbeats import HEARTBEATS, server_time
from nodes.ingress.probes import PROBES
from nodes.ingress.refusals import refuse, require_same
from nodes.models import Node, Validator

_SERVER_TIME = serializers.FloatField(help_text="unix seconds")


@extend_schema(
    request=json_body(payloads.REGISTRATION),
    auth=either(ENROLMENT),
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
    """Register a node with an enrolment token (`Authorization: Bearer jve_…`)."""
    hit("register", client_network(request._request))
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthenticated()
    wanted = payloads.registration(parse_object(request._request.body))
    try:
        node, node_token = actions.register(token=token.strip(), registration=wanted, at=timezone.now())
    except actions.NodeError as error:
        refuse(error)
    return Response(
        {
            "node_id": node.pk,
            "status": node.status,
            "node_token": node_token,
            "heartbeat_interval_s": settings.HEARTBEAT_INTERVAL_SECONDS,
            "server_time": server_time(),
        },
        status=201,
    )


@extend_schema(
    request=json_body(payloads.HEARTBEAT),
    auth=either(NODE),
    responses=inline_serializer(
        "HeartbeatAnswer",
        {
            "status": serializers.CharField(),
            "server_time": _SERVER_TIME,
            "heartbeat_interval_s": serializers.IntegerField(),
            "ignored": serializers.ListField(
                child=serializers.CharField(),
                required=False,
                help_text="what was left out: models whose names are not fit to be shown, and other members by path",
            ),
            "challenge": inline_serializer(
                "Challenge",
                {
                    "id": serializers.UUIDField(),
                    "nonce": serializers.CharField(help_text="32 hexadecimal digits to sign"),
                    "prompt": serializers.CharField(required=False, help_text="for the runtime"),
                    "expires_at": serializers.DateTimeField(),
                    "request_id": serializers.CharField(
                        required=False, help_text="of the receipt that the owner asked for"
                    ),
                },
                required=False,
            ),
        },
    ),
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def heartbeat(request: Request) -> HttpResponse:
    """Send a heartbeat, signed by the node (X-Node-Id and the webhook- headers)."""
    return HEARTBEATS.respond(request._request)


@extend_schema(
    request=json_body(payloads.CHALLENGE_ANSWER),
    auth=either(NODE),
    responses=inline_serializer(
        "ChallengeTaken",
        {
            "id": serializers.UUIDField(),
            "status": serializers.CharField(help_text="of the node"),
            "passed": serializers.BooleanField(),
            "answer_ms": serializers.FloatField(help_text="from question to answer, by the console's clock"),
        },
    ),
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def challenge(request: Request) -> HttpResponse:
    """Answer a challenge that came with a heartbeat's answer, signed like a heartbeat.

    `signature` is over `jatevo-health:{node_id}:{nonce}` by the node's current key. Where the challenge has a
    prompt, `output_hash`, `tokens_output` and `first_token_ms` are about the runtime's output. An answer counts
    once, and only until the challenge expires: later it is refused with 422.
    """
    return CHALLENGES.respond(request._request)


@extend_schema(
    request=json_body(payloads.NEW_KEY),
    auth=either("bearer", "cookie", NODE),
    responses={201: KeyAnswer},
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
@parser_classes([])
def add_key(request: Request, node_id: str) -> Response:
    """Set a new public key. The previous one stays on record. The owner or the node itself may do this.

    The node signs the request like a heartbeat, and proves with `signature` that it still has its current
    key. A key that it has or had is refused with 409 `key_exists`, and `current_key` says which key is
    current. An agent that did not receive the answer can therefore ask again.
    """
    if request.headers.get(NODE_HEADER):
        caller = authenticate_node(request._request, limit="node")
        require_same(caller.node_id, node_id)
        public_key, said = payloads.new_key(parse_object(request._request.body))
        if public_key in {span.public_key for span in caller.keys}:
            raise ApiError(
                409,
                "key_exists",
                "This node already uses or has used this public key.",
                current_key=public_key_text(caller.keys[0].public_key),
            )
        if not verify_key_change(node_id, said.public_key, said.signature, caller.keys[0].public_key):
            raise ApiError(422, "invalid_signature", "The signature does not match the current key.")
        node, by = Node.objects.get(pk=node_id), Actor("node", node_id)
    else:
        user = _sign_in(request)
        if not allowed(user, Permission.MANAGE_NODES):
            raise ApiError(403, "forbidden", "You do not have permission to do this.")
        node, by = owned_node(user, node_id), actor_of(user)
        public_key, _ = payloads.new_key(parse_object(request._request.body))
    try:
        key = actions.add_key(node=node, public_key=public_key, by=by, at=timezone.now())
    except actions.NodeError as error:
        refuse(error)
    return Response(
        {
            "public_key": public_key_text(public_key),
            "valid_from": key.valid_from,
            "valid_to": key.valid_to,
        },
        status=201,
    )


@extend_schema(
    request=json_body(payloads.PROBE),
    auth=either(VALIDATOR),
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
def probes(request: Request) -> HttpResponse:
    """Post a probe, signed by the validator (X-Validator-Id and the webhook- headers)."""
    return PROBES.respond(request._request)


@extend_schema(
    auth=either(VALIDATOR),
    responses=inline_serializer(
        "Assignments",
        {
            "assignments": serializers.ListField(child=serializers.DictField()),
            "poll_after_s": serializers.IntegerField(),
            "server_time": _SERVER_TIME,
        },
    ),
)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([])
@takes_query()
def assignments(request: Request) -> Response:
    """The nodes that are due for a probe. The validator signs an empty body."""
    authenticate_sender(request._request, Validator)
    due = due_assignments(at=timezone.now())
    return Response({"assignments": due, "poll_after_s": POLL_AFTER_SECONDS, "server_time": server_time()})


def _sign_in(request: Request) -> User:
    """The user of the request. The route has no authentication class, because machines use it too."""
    found = JwtAuthentication().authenticate(request)
    if found is None or not isinstance(found[0], User):
        raise unauthenticated()
    return found[0]
