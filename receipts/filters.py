"""The filters of receipts, one set for the page, the API and exports."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.utils.dateparse import parse_date, parse_datetime

from receipts.models import Receipt


class MomentField(forms.Field):
    """RFC 3339, a date (its midnight in UTC), or unix seconds."""

    def to_python(self, value: Any) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            if text.isascii() and text.isdigit():
                return datetime.fromtimestamp(int(text), UTC)
            if moment := parse_datetime(text):
                return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            if day := parse_date(text):
                return datetime(day.year, day.month, day.day, tzinfo=UTC)
        except (ValueError, OverflowError, OSError):
            pass
        raise forms.ValidationError("an RFC 3339 time, a date, or unix seconds")


class MomentFilter(django_filters.Filter):
    field_class = MomentField


class ReceiptFilter(django_filters.FilterSet):
    """`from` and `to` are about when a receipt was accepted; `to` is excluded."""

    node_id = django_filters.CharFilter(field_name="node_id", max_length=64)
    request_id = django_filters.CharFilter(field_name="request_id", max_length=128)
    model_id = django_filters.CharFilter(field_name="model_id", max_length=128)
    region = django_filters.CharFilter(field_name="region", max_length=32)
    hedged = django_filters.TypedChoiceFilter(
        choices=[("true", "true"), ("false", "false")],
        coerce=lambda text: text == "true",
        field_name="hedged",
    )

    class Meta:
        model = Receipt
        fields: list[str] = []


# `from` is a keyword, so that it cannot be written as an attribute of the class above. A subclass inherits
# what is declared; the class itself filters by its base_filters.
_MOMENTS = {
    "from": MomentFilter(field_name="accepted_at", lookup_expr="gte"),
    "to": MomentFilter(field_name="accepted_at", lookup_expr="lt"),
}
ReceiptFilter.declared_filters.update(_MOMENTS)
ReceiptFilter.base_filters.update(_MOMENTS)
