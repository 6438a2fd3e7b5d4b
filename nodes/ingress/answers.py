"""Serializers that several answers of the API for machines share."""

from typing import Any

from rest_framework import serializers

from jatevo.wire.keys import public_key_text
from nodes.models import Challenge, NodeKey


class KeyAnswer(serializers.ModelSerializer[NodeKey]):
    public_key = serializers.SerializerMethodField()

    class Meta:
        model = NodeKey
        fields = ("public_key", "valid_from", "valid_to")

    def get_public_key(self, key: NodeKey) -> str:
        return public_key_text(bytes(key.public_key))


def asked_of(challenge: Challenge) -> dict[str, Any]:
    """A challenge as it goes with a heartbeat's answer. Members that it does not have are left out."""
    asked = {
        "id": challenge.pk,
        "nonce": challenge.nonce,
        "prompt": challenge.prompt,
        "expires_at": challenge.expires_at,
        "request_id": challenge.request_id,
    }
    return {name: value for name, value in asked.items() if value}
