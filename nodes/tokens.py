"""The current HMAC tokens of nodes and validators. They are derived each time and never stored."""

from django.conf import settings

from jatevo.wire.webhook import token_text
from nodes.models import Node, Validator
from nodes.rules.credentials import derive_secret


def node_token(node: Node) -> str:
    """The node's current token."""
    return token_text(derive_secret(settings.MASTER_KEY, "node", node.pk, node.token_version))


def validator_token(validator: Validator) -> str:
    """The validator's current token."""
    return token_text(derive_secret(settings.MASTER_KEY, "validator", validator.pk, validator.token_version))
