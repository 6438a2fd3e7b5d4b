"""The forms of the wallet page. Each asks for the password again, and for a code where a second factor is set up."""

from typing import Any

from django import forms

from earnings.models import Chain
from jatevo.accounts.forms import IdentityForm
from nodes.models import Node, NodeQuerySet


class ChangeForm(IdentityForm):
    """A new address, for the organisation or for one of its nodes."""

    prefix = ""
    chain = forms.ChoiceField(choices=Chain.choices)
    address = forms.CharField(
        max_length=128,
        strip=True,
        help_text="Paste it from your wallet. Its checksum is checked.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "font-mono"}),
    )
    node = forms.ModelChoiceField(
        Node.objects.none(),
        required=False,
        label="For",
        empty_label="All nodes without a wallet of their own",
    )
    field_order = ("chain", "address", "node", "current", "otp")

    def __init__(self, *args: Any, nodes: NodeQuerySet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["node"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = nodes
        self.fields["current"].widget.attrs.pop("autofocus", None)


class DecideForm(IdentityForm):
    """Confirms a proposal, or stops a change with a reason."""

    prefix = ""
    reason = forms.CharField(
        max_length=300, required=False, help_text="Kept in the wallet's history.", label="Reason"
    )
    field_order = ("reason", "current", "otp")
