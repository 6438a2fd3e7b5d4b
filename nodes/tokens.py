"""The current HMAC tokens of nodes, validators and gateways. They are derived each time and never stored."""

from django.conf import settings

from jatevo.wire.gateway_key import gateway_key
from jatevo.wire.webhook import token_text
from nodes.models import Node, Sender
from nodes.rules.credentials import derive_secret


def node_token(node: Node) -> str:
    """The node's current token."""
    return token_text(derive_secret(settings.MASTER_KEY, "node", node.pk, node.token_version))


def node_gateway_key(node: Node) -> str:
    """The bearer key with which gateways ask the node for completions. A new node token changes it."""
    return gateway_key(derive_secret(settings.MASTER_KEY, "node", node.pk, node.token_version))


def sender_token(sender: Sender) -> str:
    """The current token of a validator or a gateway."""
    return token_text(derive_secret(settings.MASTER_KEY, sender.kind, sender.pk, sender.token_version))
