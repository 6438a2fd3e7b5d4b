"""Forms of a node's page."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from jatevo.web.time_zones import current_zone_words

MOST_AHEAD = timedelta(days=90)
# How long a form may be open before its "now" is refused as past.
_STILL_NOW = timedelta(minutes=10)


class ReasonForm(forms.Form):
    """The reason for quarantining or clearing a node."""

    reason = forms.CharField(
        label="Reason",
        min_length=3,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Recorded in the audit log and in the node's history, which its operator can see.",
    )


class FraudForm(ReasonForm):
    """The reason for a decision about fraud and, for a new finding, from when on the node is in doubt."""

    doubtful_from = forms.DateTimeField(
        label="In doubt from",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="What the node served from then on is held until you decide. Leave empty for now.",
    )

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["doubtful_from"].label = f"In doubt from ({current_zone_words(now)})"


class TokenForm(ReasonForm):
    """The reason for giving a node a new token."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].help_text = "Recorded in the audit log."


class MaintenanceForm(forms.Form):
    """The message and times of maintenance. An empty start means now, an empty end as long as allowed."""

    message = forms.CharField(
        label="Description",
        min_length=3,
        max_length=300,
        help_text="Shown on the node's page to everyone who can see its ID.",
    )
    starts_at = forms.DateTimeField(
        label="From",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Leave empty to start now. It cannot start in the past.",
    )
    until = forms.DateTimeField(
        label="Until",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Leave empty to end it yourself. It lasts at most the time that is left.",
    )

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now
        for name in ("starts_at", "until"):  # in the person's time zone
            self.fields[name].label = f"{self.fields[name].label} ({current_zone_words(now)})"

    def clean_starts_at(self) -> datetime | None:
        """The start, or None for now. A moment that has only just passed also means now."""
        starts_at: datetime | None = self.cleaned_data["starts_at"]
        if starts_at is None or timedelta(0) <= self.now - starts_at <= _STILL_NOW:
            return None
        if starts_at - self.now > MOST_AHEAD:
            raise ValidationError(f"Maintenance can be announced at most {MOST_AHEAD.days} days ahead.")
        return starts_at


class SharingForm(forms.Form):
    """Whether to share the node. The button says which, so that an outdated page cannot do the opposite."""

    shared = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])
