"""Forms of the list: what is done to many nodes at once, and saved views."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from nodes.detail.forms import ReasonForm
from nodes.list.query import canonical, in_address

MOST_IN_A_VIEW = 1000  # as SavedView.query holds


class BulkForm(ReasonForm):
    """What is to be done to which nodes, and why."""

    MOST = 100
    ACTIONS = (("quarantine", "Quarantine"), ("clear", "Clear quarantine"))

    action = forms.ChoiceField(choices=ACTIONS, widget=forms.HiddenInput)
    node = forms.MultipleChoiceField(widget=forms.MultipleHiddenInput)

    def __init__(self, *args: Any, node_ids: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        node = self.fields["node"]
        if isinstance(node, forms.MultipleChoiceField):
            node.choices = [(node_id, node_id) for node_id in node_ids]


class SavedViewForm(forms.Form):
    """A view of the list to keep: its name, and the query of its address."""

    _NAME = "Give the view a name of at most 60 characters."

    name = forms.CharField(max_length=60, error_messages={"required": _NAME, "max_length": _NAME})
    query = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_query(self) -> str:
        """Tidied, without the page; what is stored is longer than what was typed, since it is encoded."""
        query = canonical(QueryDict(self.cleaned_data["query"].removeprefix("?")))
        query.pop("page", None)
        suffix = in_address(query)
        if len(suffix) > MOST_IN_A_VIEW:
            raise ValidationError(
                f"These filters are too long to keep: more than {MOST_IN_A_VIEW} characters."
            )
        return suffix
