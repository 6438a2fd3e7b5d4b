"""Serializers of receipts for the API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from receipts.models import Receipt
from receipts.slots import PAYMENT_STATES, PaymentState


class PaymentAnswer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=PAYMENT_STATES)
    rule = serializers.CharField(allow_null=True, help_text="the rule that decided; null where none did")


class ReceiptLine(serializers.ModelSerializer[Receipt]):
    """An item of GET /v1/receipts: the record without payload and bytes.

    `context["payments"]` has the payment state of each receipt by its id, read once for all of them.
    """

    node_id = serializers.CharField()
    sha256 = serializers.SerializerMethodField()
    payment = serializers.SerializerMethodField()

    class Meta:
        model = Receipt
        fields = [
            "request_id", "node_id", "region", "model_id", "ts_start", "ts_end", "accepted_at",
            "tokens_input", "tokens_output", "p95_ms", "hedged", "cache_hit", "failed", "payment",
            "node_status", "node_status_at_end", "sha256",
        ]  # fmt: skip

    def to_representation(self, receipt: Receipt) -> dict[str, Any]:
        """The same as its fields make, which DRF would build for each request and ask for each value."""
        if type(self) is not ReceiptLine:
            return dict(super().to_representation(receipt))
        values = {name: getattr(receipt, name) for name in _PLAIN}
        values |= {name: _MOMENT.to_representation(getattr(receipt, name)) for name in _MOMENTS}
        values["payment"] = self.get_payment(receipt)
        values["sha256"] = self.get_sha256(receipt)
        return {name: values[name] for name in ReceiptLine.Meta.fields}

    def get_sha256(self, receipt: Receipt) -> str:
        return bytes(receipt.sha256).hex()

    @extend_schema_field(PaymentAnswer)
    def get_payment(self, receipt: Receipt) -> dict[str, str | None]:
        payment: PaymentState = self.context["payments"][receipt.id]
        return {"state": payment.state, "rule": payment.rule or None}


_MOMENT = serializers.DateTimeField()
_MOMENTS = ("ts_start", "ts_end", "accepted_at")
_PLAIN = tuple(
    name for name in ReceiptLine.Meta.fields if name not in ("payment", "sha256") and name not in _MOMENTS
)


class ComparedAnswer(serializers.Serializer[Any]):
    what = serializers.CharField()
    value = serializers.CharField()


class CheckAnswer(serializers.Serializer[Any]):
    name = serializers.CharField()
    ok = serializers.BooleanField()
    detail = serializers.CharField()
    compared = ComparedAnswer(many=True, help_text="what the check compared, for people to read")


class VerificationAnswer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    checks = CheckAnswer(many=True)


class ReceiptDetail(ReceiptLine):
    """GET /v1/receipts/{node_id}/{request_id}."""

    payload = serializers.JSONField()
    verification = VerificationAnswer()

    class Meta(ReceiptLine.Meta):
        fields = [*ReceiptLine.Meta.fields, "payload", "verification"]


class AggregatesAnswer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    tokens_input = serializers.IntegerField()
    tokens_output = serializers.IntegerField()
    cache_hit_rate = serializers.FloatField(allow_null=True, help_text="0 to 1; null without receipts")
    failures = serializers.IntegerField()
    p95_ms = serializers.FloatField(allow_null=True, help_text="mean of the receipts' own p95_ms")
