"""Forms of the list: bulk actions and saved views."""

from typing import Any

from django import forms
from django.http import QueryDict

from jatevo.accounts.saved_views import ViewNameForm
from nodes.detail.forms import ReasonForm
from nodes.list.query import canonical, in_address


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


class SavedViewForm(ViewNameForm):
    """A view to save: its name, and the query string of the list."""

    query = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_query(self) -> str:
        """The query in canonical form, without the page."""
        query = canonical(QueryDict(self.cleaned_data["query"].removeprefix("?")))
        query.pop("page", None)
        return in_address(query)
