"""The search form of the refused receipts."""

from django import forms
from django.http import QueryDict

from jatevo.web.query_values import strangers_in_words
from receipts.models import RefusalReason, RefusedReceiptQuerySet


class RefusedSearch(forms.Form):
    """What a wrong value asks for cannot exist, so it finds nothing. Nor does a misspelt filter, which would find all."""

    node = forms.CharField(required=False, max_length=64, label="Node")
    reason = forms.ChoiceField(
        required=False, label="Reason", choices=[("", "Any reason"), *RefusalReason.choices]
    )

    @property
    def problems(self) -> list[str]:
        """What is wrong with the names in the address, in words."""
        if not isinstance(self.data, QueryDict):
            return []
        return strangers_in_words(self.data, list(self.fields), ["cursor"])

    @property
    def in_use(self) -> bool:
        """Whether any filter is set."""
        return any(self.data.get(name) for name in self.fields)

    def narrow(self, refused: RefusedReceiptQuerySet) -> RefusedReceiptQuerySet:
        """The refused receipts that match."""
        if self.problems or not self.is_valid():
            return refused.none()
        wanted = self.cleaned_data
        if wanted["node"]:
            refused = refused.filter(node_id=wanted["node"])
        return refused.filter(reason=wanted["reason"]) if wanted["reason"] else refused
