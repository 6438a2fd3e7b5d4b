"""Forms of the pages of nodes."""

from typing import Any

from django import forms


class ReasonForm(forms.Form):
    """Why a node is quarantined or cleared."""

    reason = forms.CharField(
        label="Reason",
        min_length=3,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Goes into the node's history, which its operator sees, and into the audit log.",
    )


class TokenForm(ReasonForm):
    """Why a node gets a new token."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].help_text = "Goes into the audit log."


class MaintenanceForm(forms.Form):
    """What the maintenance is for, and when. An empty start is now, an empty end is as long as allowed."""

    message = forms.CharField(
        label="What is being done",
        min_length=3,
        max_length=300,
        help_text="Shown on the node's page to those who know it by name.",
    )
    starts_at = forms.DateTimeField(
        label="From (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: now. It cannot begin in the past.",
    )
    until = forms.DateTimeField(
        label="Until (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: until you end it, and at most as long as is left.",
    )


class SharingForm(forms.Form):
    """Whether strangers are to see the node. The button says which, so that an old page does no harm."""

    shared = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])


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


class ViewNameForm(forms.Form):
    """The name under which a view of the list is kept."""

    name = forms.CharField(label="Name of the view", max_length=60)
    query = forms.CharField(required=False, max_length=1000, widget=forms.HiddenInput)
