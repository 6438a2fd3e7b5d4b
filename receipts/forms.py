"""The search form of the receipts page."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import django_filters
from django import forms
from django.http import QueryDict
from django.utils import timezone

from jatevo.web.query_values import BadValue, moment
from receipts.filters import MomentField, ReceiptFilter

HEDGED_CHOICES = [("", "Hedged or not"), ("true", "Hedged"), ("false", "Not hedged")]
# How many days before today a preset begins and ends. None is any time.
PRESETS = [
    ("Today", 0, 0),
    ("Yesterday", 1, 1),
    ("Last 7 days", 6, 0),
    ("Last 30 days", 29, 0),
    ("Any time", None, None),
]


class MomentInput(forms.TextInput):
    """A date picker for a day. Any other value of the URL is shown as text, so that the form keeps it.

    An instant is written in the current time zone with its offset.
    """

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        text = str(value or "").strip()
        context = super().get_context(name, _in_the_zone(text), attrs)
        context["widget"]["type"] = "date" if not text or _is_day(text) else "text"
        return context


class ReceiptSearch(ReceiptFilter):
    """The API's filters as a form. A request id may be a prefix, and days are in the person's time zone.

    `problems` has the errors in words for the page.
    """

    request_id = django_filters.CharFilter(
        field_name="request_id", lookup_expr="startswith", max_length=128, label="Request ID"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields = self.form.fields
        fields["node_id"].label = "Node"
        fields["model_id"].label = "Model"
        fields["region"].label = "Region"
        fields["hedged"].label = "Hedged"
        fields["hedged"].widget = forms.Select(choices=HEDGED_CHOICES)
        fields["from"].label = "From"
        fields["to"].label = "To"
        for field in (fields["from"], fields["to"]):
            if isinstance(field, MomentField):
                field.zone = timezone.get_current_timezone()
                field.widget = MomentInput(attrs={"aria-describedby": "receipts-zone"})

    @property
    def in_use(self) -> bool:
        """Whether any filter is set."""
        return any(self.data.get(name) for name in self.filters)

    @property
    def problems(self) -> list[str]:
        """The errors, each with the label of its field. Empty for a valid search."""
        if not self.is_valid():
            return [
                f"{self.form.fields[name].label}: {' '.join(map(str, texts))}"
                for name, texts in self.form.errors.items()
            ]
        first, last = self.form.cleaned_data["from"], self.form.cleaned_data["to"]
        if first and last and first.start >= last.end:
            return ["From: must be before To"]
        return []


@dataclass(frozen=True)
class Preset:
    """A range of days, with a link to the same search within it."""

    label: str
    url: str
    chosen: bool


def presets(query: QueryDict, path: str, *, at: datetime) -> list[Preset]:
    """The presets, counted from today in the current time zone. The rest of the search is kept."""
    today = timezone.localdate(at)
    found = []
    for label, first, last in PRESETS:
        days = {"from": _days_before(today, first), "to": _days_before(today, last)}
        asked = query.copy()
        asked.pop("cursor", None)
        for name, day in days.items():
            asked.pop(name, None)
            if day:
                asked[name] = day
        chosen = all(query.get(name, "") == day for name, day in days.items())
        found.append(Preset(label, f"{path}?{asked.urlencode()}" if asked else path, chosen))
    return found


def _days_before(today: date, days: int | None) -> str:
    return "" if days is None else (today - timedelta(days=days)).isoformat()


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _in_the_zone(text: str) -> str:
    """An instant in the current time zone. Any other text is returned unchanged."""
    try:
        found = moment(text)
    except BadValue:
        return text
    return text if found.start != found.end else timezone.localtime(found.start).isoformat()
