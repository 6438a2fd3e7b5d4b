"""The filters of receipts, for the page, the API and exports."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import Any, Final

import django_filters
from django import forms
from django.core.validators import RegexValidator
from django.db.models import Q
from django.utils.functional import cached_property

from jatevo.web.query_values import BadValue, Moment, moment
from jatevo.wire.names import normal_model
from jatevo.wire.schema import RequestOutcome
from nodes.models import NormalModel
from receipts.models import Receipt, ReceiptQuerySet
from receipts.slots import PAYMENT_STATES, with_payment_state

SHA256_PATTERN: Final = "^[0-9A-Fa-f]{64}$"
SHA256_VALIDATOR: Final = RegexValidator(SHA256_PATTERN, "Enter 64 hexadecimal digits.")


class SigningKey(StrEnum):
    """The key that signed a receipt, as acceptance knew it.

    Every receipt was verified when it was accepted, so that is nothing to search for. By which key is.
    """

    CURRENT = "current"
    FORMER = "former"  # replaced by the time of acceptance


class MomentField(forms.Field):
    """A moment as `query_values.moment` reads it. A date is a day in `zone`, which is UTC for the API."""

    zone: tzinfo = UTC

    def to_python(self, value: Any) -> Moment | None:
        text = str(value or "").strip()
        try:
            return moment(text, zone=self.zone) if text else None
        except BadValue as error:
            raise forms.ValidationError(str(error)) from error


class FromFilter(django_filters.Filter):
    """At or after the instant, or from the start of the day."""

    field_class = MomentField

    def filter(self, qs: ReceiptQuerySet, value: Moment | None) -> ReceiptQuerySet:
        return qs if value is None else qs.filter(**{f"{self.field_name}__gte": value.start})


class ToFilter(django_filters.Filter):
    """Before the instant, or until the end of the day."""

    field_class = MomentField

    def filter(self, qs: ReceiptQuerySet, value: Moment | None) -> ReceiptQuerySet:
        return qs if value is None else qs.filter(**{f"{self.field_name}__lt": value.end})


def _yes_or_no(column: str) -> django_filters.Filter:
    return django_filters.TypedChoiceFilter(
        choices=[("true", "true"), ("false", "false")],
        coerce=lambda text: text == "true",
        field_name=column,
    )


def _words(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(str(value), str(value)) for value in values]


class ReceiptFilter(django_filters.FilterSet):
    """`from` and `to` refer to when a receipt was accepted. `to` excludes an instant and includes a day."""

    node_id = django_filters.CharFilter(field_name="node_id", max_length=64)
    request_id = django_filters.CharFilter(field_name="request_id", max_length=128)
    model_id = django_filters.CharFilter(method="of_model", max_length=128)
    region = django_filters.CharFilter(field_name="region", max_length=32)
    hedged = _yes_or_no("hedged")
    cache_hit = _yes_or_no("cache_hit")
    outcome = django_filters.ChoiceFilter(choices=_words(RequestOutcome), method="of_outcome")
    payment = django_filters.ChoiceFilter(choices=_words(PAYMENT_STATES), method="of_payment")
    key = django_filters.ChoiceFilter(choices=_words(SigningKey), method="of_key")
    sha256 = django_filters.CharFilter(
        method="of_bytes",
        validators=[SHA256_VALIDATOR],
    )

    class Meta:
        model = Receipt
        fields: list[str] = []

    # The ids of the nodes whose receipts the person may see, if they are few. receipts/search/finding.py sets it.
    seen_nodes: Sequence[str] | None = None

    @cached_property
    def looked_up(self) -> dict[str, Sequence[tuple[datetime, int]] | None]:
        """What the indexes led to, by filter, for receipts/search/conditions.py: asked once for a page."""
        return {}

    def of_model(self, receipts: ReceiptQuerySet, name: str, model_id: str) -> ReceiptQuerySet:
        """Receipts of the model, in any spelling: `QWEN3`, `qwen3` and `qwen3:latest` are the same model."""
        return receipts.alias(model=NormalModel("model_id")).filter(model=normal_model(model_id))

    def of_outcome(self, receipts: ReceiptQuerySet, name: str, outcome: str) -> ReceiptQuerySet:
        """`ok` includes receipts that state no outcome."""
        # `@>` is never NULL, also where the member is missing
        cancelled = Q(payload__contains={"outcome": RequestOutcome.CANCELLED.value})
        match RequestOutcome(outcome):
            case RequestOutcome.ERROR:
                return receipts.filter(failed=True)
            case RequestOutcome.CANCELLED:
                return receipts.filter(cancelled, failed=False)
            case RequestOutcome.OK:
                return receipts.filter(~cancelled, failed=False)

    def of_payment(self, receipts: ReceiptQuerySet, name: str, state: str) -> ReceiptQuerySet:
        """Receipts whose payment state is this one, by the verdict that holds."""
        return with_payment_state(receipts, state)

    def of_key(self, receipts: ReceiptQuerySet, name: str, key: str) -> ReceiptQuerySet:
        """By whether the key was still the node's when the receipt was accepted.

        Receipts from before acceptance recorded it are neither.
        """
        return receipts.filter(key_since__isnull=False, key_until__isnull=key == SigningKey.CURRENT)

    def of_bytes(self, receipts: ReceiptQuerySet, name: str, sha256: str) -> ReceiptQuerySet:
        """The receipt whose exact bytes have this SHA-256."""
        return receipts.with_bytes(bytes.fromhex(sha256))


# `from` is a keyword, so it cannot be an attribute of the class above. It is added to declared_filters for
# subclasses and to base_filters for the class itself.
_MOMENTS = {
    "from": FromFilter(field_name="accepted_at"),
    "to": ToFilter(field_name="accepted_at"),
}
ReceiptFilter.declared_filters.update(_MOMENTS)
ReceiptFilter.base_filters.update(_MOMENTS)
