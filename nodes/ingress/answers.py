"""Serializers that several answers of the API for machines share."""

from rest_framework import serializers

from jatevo.wire.keys import public_key_text
from nodes.models import NodeKey


class KeyAnswer(serializers.ModelSerializer[NodeKey]):
    public_key = serializers.SerializerMethodField()

    class Meta:
        model = NodeKey
        fields = ("public_key", "valid_from", "valid_to")

    def get_public_key(self, key: NodeKey) -> str:
        return public_key_text(bytes(key.public_key))
