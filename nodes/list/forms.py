"""Forms of the list: bulk actions and saved views."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from nodes.detail.forms import ReasonForm
from nodes.list.query import canonical, in_address

MOST_IN_A_VIEW = 1000  # the length of SavedView.query


class BulkForm(ReasonForm):
    """A bulk action: the action, the nodes and the reason."""

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
    """A view to save: its name, and the query string of the list."""

    _NAME = "Give the view a name of at most 60 characters."

    name = forms.CharField(max_length=60, error_messages={"required": _NAME, "max_length": _NAME})
    query = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_query(self) -> str:
        """The query in canonical form, without the page.

        Its length is checked after encoding, as it is stored.
        """
        query = canonical(QueryDict(self.cleaned_data["query"].removeprefix("?")))
        query.pop("page", None)
        suffix = in_address(query)
        if len(suffix) > MOST_IN_A_VIEW:
            raise ValidationError(
                f"These filters are too long to save: more than {MOST_IN_A_VIEW} characters."
            )
        return suffix
