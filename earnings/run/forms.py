"""Forms of the payout run, and the filters in its address."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from earnings.rules.eligibility import EligibilityKey
from jatevo.accounts.org_choice import OrgChoiceField
from jatevo.web.query_values import strangers_in_words

SHOWN = [("", "Eligible or not"), ("eligible", "Eligible"), ("not", "Not eligible")]


class ReasonForm(forms.Form):
    """A reason for the audit log. `seen_by_operator` says whose eyes it also reaches."""

    reason = forms.CharField(
        label="Reason", min_length=3, max_length=500, widget=forms.Textarea(attrs={"rows": 3})
    )

    def __init__(self, *args: Any, seen_by_operator: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].help_text = (
            "Recorded in the audit log. The operator can see it."
            if seen_by_operator
            else "Recorded in the audit log."
        )


class MarkForm(ReasonForm):
    """The reason for marking nodes ready, and the failed rules that are overridden."""

    override = forms.MultipleChoiceField(
        label="Pay although these rules fail", required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, overridable: Sequence[EligibilityKey], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["override"]
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(each.value, each.label) for each in overridable]
        if not overridable:
            del self.fields["override"]


class RunFilter(forms.Form):
    """The filters of the payout run. Unknown, repeated and empty parameters are problems like wrong ones."""

    KNOWN = ("q", "org", "show", "page", "part")

    q = forms.CharField(label="Node", required=False, max_length=64)
    org = OrgChoiceField(required=False, empty_label="Any organisation")
    show = forms.ChoiceField(label="Show", required=False, choices=SHOWN)

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query)
        self.use_required_attribute = False
        self._query = query

    @property
    def problems(self) -> list[str]:
        """What is wrong with the address, in words. The filters are then ignored."""
        problems = strangers_in_words(self._query, self.KNOWN)
        for name, texts in self.errors.items():
            problems.append(f"{self.fields[name].label}: {' '.join(map(str, texts))}")
        return problems
