"""GET /v1/gateways/nodes and GET /v1/networks."""

from dataclasses import asdict

from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.web.address import client_network
from jatevo.web.openapi import GATEWAY, either
from jatevo.web.query_values import takes_query
from jatevo.web.throttling import hit
from nodes.ingress.authentication import authenticate_sender
from nodes.models import Validator
from receipts.gateways.networks import published_networks
from receipts.gateways.routable import routable_nodes
from receipts.models import Gateway

_NETWORKS = serializers.ListField(child=serializers.CharField(), help_text="such as 192.0.2.0/24")


@extend_schema(
    auth=either(GATEWAY),
    responses=inline_serializer(
        "GatewayNodes",
        {
            "nodes": inline_serializer(
                "GatewayNode",
                {
                    "node_id": serializers.CharField(),
                    "endpoint": serializers.CharField(),
                    "models": serializers.ListField(child=serializers.CharField()),
                    "concurrency": serializers.IntegerField(),
                    "gateway_key": serializers.CharField(help_text="the bearer key for its /v1 routes"),
                    "public_key": serializers.CharField(),
                    "region": serializers.CharField(),
                },
                many=True,
            ),
            "as_of": serializers.DateTimeField(),
        },
    ),
)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([])
@takes_query()
def gateway_nodes(request: Request) -> Response:
    """The nodes that may be sent requests: active, and reached by a validator's last probe.

    A gateway signs an empty body (X-Gateway-Id and the webhook- headers). `gateway_key` changes with the node's
    token, so read the list again after a node answers 401.
    """
    authenticate_sender(request._request, Gateway)
    return Response({"nodes": [asdict(node) for node in routable_nodes()], "as_of": timezone.now()})


@extend_schema(
    auth=either(nobody=True),
    responses=inline_serializer(
        "Networks",
        {"validators": _NETWORKS, "gateways": _NETWORKS, "as_of": serializers.DateTimeField()},
    ),
)
@api_view(["GET", "HEAD"])
@authentication_classes([])
@permission_classes([])
@takes_query()
def networks(request: Request) -> Response:
    """The networks from which validators and gateways ask nodes, for an operator's firewall."""
    hit("reads", client_network(request._request))
    return Response(
        {
            "validators": published_networks(Validator),
            "gateways": published_networks(Gateway),
            "as_of": timezone.now(),
        }
    )
