"""Forms of a node's page."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from jatevo.web.time_zones import current_zone_words

MOST_AHEAD = timedelta(days=90)
# Between opening the form with "now" in it and sending it.
_STILL_NOW = timedelta(minutes=10)


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
        label="From",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: now. It cannot begin in the past.",
    )
    until = forms.DateTimeField(
        label="Until",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Empty: until you end it, and at most as long as is left.",
    )

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now
        for name in ("starts_at", "until"):  # read in the person's zone
            self.fields[name].label = f"{self.fields[name].label} ({current_zone_words(now)})"

    def clean_starts_at(self) -> datetime | None:
        """None is now, and so is a moment that has only just passed."""
        starts_at: datetime | None = self.cleaned_data["starts_at"]
        if starts_at is None or timedelta(0) <= self.now - starts_at <= _STILL_NOW:
            return None
        if starts_at - self.now > MOST_AHEAD:
            raise ValidationError(f"Announce it at most {MOST_AHEAD.days} days ahead.")
        return starts_at


class SharingForm(forms.Form):
    """Whether strangers are to see the node. The button says which, so that an old page does no harm."""

    shared = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])
