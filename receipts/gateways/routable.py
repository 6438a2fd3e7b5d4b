"""The nodes that gateways may send requests to."""

from dataclasses import dataclass

from django.db.models import F

from jatevo.wire.keys import public_key_text
from nodes.models import Node
from nodes.rules.lifecycle import Status
from nodes.tokens import node_gateway_key


@dataclass(frozen=True)
class RoutableNode:
    """A node as a gateway needs it. `public_key` verifies its receipts and health answers."""

    node_id: str
    endpoint: str
    models: list[str]
    concurrency: int
    gateway_key: str
    public_key: str
    region: str


def routable_nodes() -> list[RoutableNode]:
    """The active nodes that validators reach, ordered by id. One query."""
    found = Node.objects.filter(status=Status.ACTIVE, reachable=True, keys__valid_to=None).exclude(
        endpoint=""
    )
    read = found.only("id", "endpoint", "models_offered", "concurrency", "token_version", "region")
    return [
        RoutableNode(
            node_id=node.pk,
            endpoint=node.endpoint,
            models=node.models_offered,
            concurrency=node.concurrency,
            gateway_key=node_gateway_key(node),
            public_key=public_key_text(bytes(node.current_key)),
            region=node.region,
        )
        for node in read.annotate(current_key=F("keys__public_key")).order_by("id")
    ]
