"""GET /v1/nodes/self: how the console sees a node, for the node itself."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.web.openapi import NODE, either
from jatevo.web.query_values import takes_query
from nodes.detail.tabs import endpoint_advice_of, explanation_of
from nodes.ingress.authentication import authenticate_node
from nodes.models import Node
from nodes.rules.lifecycle import Status


@extend_schema(
    auth=either(NODE),
    responses=inline_serializer(
        "NodeSelf",
        {
            "node_id": serializers.CharField(),
            "status": serializers.ChoiceField([status.value for status in Status]),
            "status_reason": serializers.CharField(),
            "reachable": serializers.BooleanField(
                allow_null=True, help_text="whether validators reach its endpoint; null: not known yet"
            ),
            "reachable_since": serializers.DateTimeField(allow_null=True),
            "last_heartbeat_at": serializers.DateTimeField(allow_null=True),
            "last_probe": inline_serializer(
                "LastProbe",
                {
                    "kind": serializers.CharField(),
                    "ok": serializers.BooleanField(),
                    "fault": serializers.CharField(),
                    "detail": serializers.CharField(),
                    "at": serializers.DateTimeField(),
                    "by": serializers.ChoiceField(["validator", "console"]),
                },
                allow_null=True,
            ),
            "challenge_passed_at": serializers.DateTimeField(allow_null=True),
            "advice": serializers.CharField(help_text="what to do, for people; empty if nothing"),
        },
    ),
)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([])
@takes_query()
def self_report(request: Request) -> Response:
    """How the console sees the node that signs the request, with an empty body, like a heartbeat."""
    caller = authenticate_node(request._request, limit="node")
    node = Node.objects.get(pk=caller.node_id)
    probe = node.probes.first()
    return Response(
        {
            "node_id": node.pk,
            "status": node.status,
            "status_reason": node.status_reason,
            "reachable": node.reachable,
            "reachable_since": node.reachable_since,
            "last_heartbeat_at": node.last_heartbeat_at,
            "last_probe": probe
            and {
                "kind": probe.kind,
                "ok": probe.ok,
                "fault": probe.fault,
                "detail": probe.detail,
                "at": probe.received_at,
                "by": "console" if probe.validator_id is None else "validator",
            },
            "challenge_passed_at": node.challenge_passed_at,
            "advice": _advice(node),
        }
    )


def _advice(node: Node) -> str:
    at = timezone.now()
    parts = []
    if node.status != Status.ACTIVE:
        explained = explanation_of(node, at=at)
        parts += [explained.what, explained.next]
    if (beyond := endpoint_advice_of(node)) is not None:
        parts += [beyond.what, *beyond.ways]
    return " ".join(part for part in parts if part)
