"""The filters of receipts, for the page, the API and exports."""

from datetime import UTC, tzinfo
from typing import Any

import django_filters
from django import forms

from jatevo.web.query_values import BadValue, Moment, moment
from jatevo.wire.names import normal_model
from nodes.models import NormalModel
from receipts.models import Receipt, ReceiptQuerySet


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


class ReceiptFilter(django_filters.FilterSet):
    """`from` and `to` refer to when a receipt was accepted. `to` excludes an instant and includes a day."""

    node_id = django_filters.CharFilter(field_name="node_id", max_length=64)
    request_id = django_filters.CharFilter(field_name="request_id", max_length=128)
    model_id = django_filters.CharFilter(method="of_model", max_length=128)
    region = django_filters.CharFilter(field_name="region", max_length=32)
    hedged = django_filters.TypedChoiceFilter(
        choices=[("true", "true"), ("false", "false")],
        coerce=lambda text: text == "true",
        field_name="hedged",
    )

    class Meta:
        model = Receipt
        fields: list[str] = []

    def of_model(self, receipts: ReceiptQuerySet, name: str, model_id: str) -> ReceiptQuerySet:
        """Receipts of the model, in any spelling: `QWEN3`, `qwen3` and `qwen3:latest` are the same model."""
        return receipts.alias(model=NormalModel("model_id")).filter(model=normal_model(model_id))


# `from` is a keyword, so it cannot be an attribute of the class above. It is added to declared_filters for
# subclasses and to base_filters for the class itself.
_MOMENTS = {
    "from": FromFilter(field_name="accepted_at"),
    "to": ToFilter(field_name="accepted_at"),
}
ReceiptFilter.declared_filters.update(_MOMENTS)
ReceiptFilter.base_filters.update(_MOMENTS)
