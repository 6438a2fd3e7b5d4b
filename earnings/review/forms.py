"""The filters of the review queue, and the form of a decision."""

from datetime import datetime

from django import forms
from django.http import QueryDict

from earnings.models import VerdictState
from earnings.rules.verdicts import CAUSES, Cause
from jatevo.accounts.org_choice import OrgChoiceField
from jatevo.web.query_values import BadValue, moment, strangers_in_words

# What an admin can decide here. A finding of fraud is decided on the node's page, a dispute on its own.
REVIEWED = (
    Cause.LATE,
    Cause.SPEED,
    Cause.CONTEXT,
    Cause.DURATION,
    Cause.MODEL,
    Cause.CONCURRENCY,
    Cause.BURST,
    Cause.UNCONFIRMED,
    Cause.CONTRADICTS,
)
REVIEWED_RULES = tuple(rule for rule, causes in CAUSES.items() if set(causes) & set(REVIEWED))
DECISIONS = [
    (VerdictState.PAYABLE.value, "Release: they are paid"),
    (VerdictState.EXCLUDED.value, "Exclude: they are not paid"),
]


class ReviewFilter(forms.Form):
    """The filters of the queue. Unknown, repeated and wrong parameters are problems, and nothing is narrowed."""

    KNOWN = ("q", "org", "cause", "page")

    q = forms.CharField(label="Node", required=False, max_length=64)
    org = OrgChoiceField(required=False, empty_label="Any organisation")
    cause = forms.ChoiceField(
        label="Cause",
        required=False,
        choices=[("", "Any cause"), *((each.value, each.label) for each in REVIEWED)],
    )

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query)
        self.use_required_attribute = False
        self._query = query

    @property
    def problems(self) -> list[str]:
        """What is wrong with the address, in words."""
        problems = strangers_in_words(self._query, self.KNOWN)
        for name, texts in self.errors.items():
            problems.append(f"{self.fields[name].label}: {' '.join(map(str, texts))}")
        return problems


class ReleaseForm(forms.Form):
    """Why a receipt is paid after all."""

    reason = forms.CharField(
        label="Reason",
        min_length=3,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Recorded in the audit log and on each receipt, where the operator can see it.",
    )


class DecisionForm(ReleaseForm):
    """Release or exclude, with a reason. `until`: what is held later was not seen, and is not decided."""

    field_order = ("state", "reason", "until")

    state = forms.ChoiceField(label="Decision", choices=DECISIONS, widget=forms.RadioSelect)
    until = forms.CharField(widget=forms.HiddenInput)

    def clean_until(self) -> datetime:
        try:
            return moment(self.cleaned_data["until"]).start
        except BadValue as error:
            raise forms.ValidationError("Open the review queue again.") from error


class DisputeForm(forms.Form):
    """Whose receipt of a request is paid: the id of one of the held receipts, or `none`."""

    request_id = forms.CharField(max_length=128)
    winner = forms.RegexField(r"^(none|\d{1,18})$", error_messages={"required": "Choose who is paid."})
    reason = forms.CharField(label="Reason", min_length=3, max_length=500)
