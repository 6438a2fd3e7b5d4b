"""Answers of the machines' half of the API that other answers are made of."""

from rest_framework import serializers

from nodes.models import NodeKey
from nodes.rules.credentials import public_key_text


class KeyAnswer(serializers.ModelSerializer[NodeKey]):
    public_key = serializers.SerializerMethodField()

    class Meta:
        model = NodeKey
        fields = ("public_key", "valid_from", "valid_to")

    def get_public_key(self, key: NodeKey) -> str:
        return public_key_text(bytes(key.public_key))
