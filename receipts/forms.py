"""The search form of the receipts page."""

from typing import Any

import django_filters
from django import forms

from receipts.filters import ReceiptFilter

HEDGED_CHOICES = [("", "Hedged or not"), ("true", "Hedged"), ("false", "Not hedged")]


class ReceiptSearch(ReceiptFilter):
    """The API's filters with a person's habits: a request id may be the beginning of one."""

    request_id = django_filters.CharFilter(
        field_name="request_id", lookup_expr="startswith", max_length=128, label="Request ID"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = self.form.fields
        fields["node_id"].label = "Node"
        fields["model_id"].label = "Model"
        fields["region"].label = "Region"
        fields["hedged"].label = "Hedged"
        fields["hedged"].widget = forms.Select(choices=HEDGED_CHOICES)
        fields["from"].label = "From"
        fields["to"].label = "To"
        for name in ("from", "to"):
            fields[name].widget = forms.DateInput(attrs={"type": "date"})

    @property
    def in_use(self) -> bool:
        """Whether anything narrows the list."""
        return any(self.data.get(name) for name in self.filters)
