"""Forms of the pages of nodes."""

from typing import Any

from django import forms

from nodes.filters import NodeFilter


class ReasonForm(forms.Form):
    """Why a node is quarantined or cleared."""

    reason = forms.CharField(
        label="Reason",
        min_length=3,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Goes into the node's history, which its operator sees, and into the audit log.",
    )


class NodePageFilter(NodeFilter):
    """The same filters, with the regions to choose from."""

    def __init__(self, *args: Any, regions: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.data.get("region", "") if self.is_bound else ""
        options = sorted({*regions, *([chosen] if chosen else [])})
        choices = [("", "Any region"), *((each, each) for each in options)]
        self.form.fields["region"].widget = forms.Select(choices=choices)
