"""The search form of the receipts page."""

from collections.abc import Collection, Iterator
from datetime import date
from typing import Any, Final

import django_filters
from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Value
from django.db.models.functions import Concat
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import cached_property

from jatevo.accounts.models import Role, User
from jatevo.web.query_values import BadValue, Moment, moment, strangers_in_words
from jatevo.wire.schema import RequestOutcome
from nodes.models import Node
from receipts.filters import SHA256_VALIDATOR, MomentField, ReceiptFilter, SigningKey
from receipts.models import ReceiptQuerySet
from receipts.slots import PAYMENT_STATES

# The words of each choice. The first one is for any.
CHOICES: Final[dict[str, list[tuple[str, str]]]] = {
    "hedged": [("", "Hedged or not"), ("true", "Hedged"), ("false", "Not hedged")],
    "cache_hit": [("", "Cached or not"), ("true", "Cache hit"), ("false", "No cache hit")],
    "outcome": [
        ("", "Any outcome"),
        (RequestOutcome.OK, "OK"),
        (RequestOutcome.ERROR, "Failed"),
        (RequestOutcome.CANCELLED, "Cancelled"),
    ],
    "payment": [("", "Any payment"), *((state, state.capitalize()) for state in PAYMENT_STATES)],
    "key": [
        ("", "Any key"),
        (SigningKey.CURRENT, "The current key"),
        (SigningKey.FORMER, "A former key"),
    ],
}
LABELS: Final[dict[str, str]] = {
    "request_id": "Request ID",
    "node_id": "Node",
    "model_id": "Model",
    "region": "Region",
    "outcome": "Outcome",
    "payment": "Payment",
    "hedged": "Hedged",
    "cache_hit": "Cache",
    "key": "Signed with",
    "sha256": "SHA-256",
    "from": "From",
    "to": "To",
}
MOST_NODES: Final = 500  # offered for choice


def tidy(query: QueryDict) -> QueryDict:
    """The filters that the query sets, in the order of the form."""
    found = QueryDict(mutable=True)
    for name in LABELS:
        if value := query.get(name, "").strip():
            found[name] = value
    return found


class MomentInput(forms.TextInput):
    """A date picker for a day. Any other value of the URL is shown as text, so that the form keeps it.

    An instant is written in the current time zone with its offset.
    """

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        text = str(value or "").strip()
        context = super().get_context(name, _in_the_zone(text), attrs)
        context["widget"]["type"] = "date" if not text or day_of(text) else "text"
        return context


class ReceiptSearch(ReceiptFilter):
    """The API's filters as a form. A request id may be a prefix, and days are in the person's time zone.

    `problems` has the errors in words for the page. `also` are the parameters of the page that are no filters.
    """

    request_id = django_filters.CharFilter(
        method="of_request", lookup_expr="startswith", max_length=128, label="Request ID"
    )

    def __init__(self, *args: Any, also: Collection[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._also = also
        fields = self.form.fields
        for name, label in LABELS.items():
            fields[name].label = label
        for name, choices in CHOICES.items():
            fields[name].widget = forms.Select(choices=choices)
        fields["node_id"].widget.attrs["list"] = "receipts-nodes"
        fields["key"].widget.attrs["aria-describedby"] = "receipts-key-help"
        for field in (fields["from"], fields["to"]):
            if isinstance(field, MomentField):
                field.zone = timezone.get_current_timezone()
                field.widget = MomentInput(attrs={"aria-describedby": "receipts-zone"})

    @property
    def more_in_use(self) -> bool:
        """Whether any of the filters is set that the page has under "More filters"."""
        return any(self.data.get(name) for name in ("hedged", "cache_hit", "key", "sha256"))

    def of_request(self, receipts: ReceiptQuerySet, name: str, prefix: str) -> ReceiptQuerySet:
        """Receipts whose request id starts like this.

        PostgreSQL takes it for rare and reads all of them by its index. Once it is known that many share it, it is compared
        with an expression that has no index.
        """
        if self.looked_up.get(name, ()) is None:
            return receipts.alias(spelled=Concat("request_id", Value(""))).filter(spelled__startswith=prefix)
        return receipts.filter(request_id__startswith=prefix)

    @cached_property
    def problems(self) -> list[str]:
        """The errors, each with the label of its field. Empty for a valid search.

        A misspelt filter is one, because it would find everything.
        """
        found = []
        if isinstance(self.data, QueryDict):
            found += strangers_in_words(self.data, list(self.filters), self._also)
        if not self.is_valid():
            return found + [
                f"{self.form.fields[name].label}: {' '.join(map(str, texts))}"
                for name, texts in self.form.errors.items()
            ]
        if found:
            return found
        first, last = self.form.cleaned_data["from"], self.form.cleaned_data["to"]
        if first and last and first.start >= last.end:
            return ["From: must be before To"]
        return []

    @property
    def times(self) -> tuple[Moment | None, Moment | None]:
        """`from` and `to`. None for one that is not set, or makes no sense."""
        cleaned = getattr(self.form, "cleaned_data", {}) if self.is_bound else {}
        return cleaned.get("from"), cleaned.get("to")


def node_choices(search: ReceiptSearch, user: object) -> Iterator[str]:
    """The ids of the nodes to choose from. An admin, who may see any of thousands, types one."""
    if search.seen_nodes is not None:
        yield from search.seen_nodes
    elif not (isinstance(user, User) and user.role == Role.ADMIN):
        yield from Node.objects.named_to(user).order_by("pk").values_list("pk", flat=True)[:MOST_NODES]


def day_of(text: str) -> date | None:
    """The day, if the text is exactly a date."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def _in_the_zone(text: str) -> str:
    """An instant in the current time zone. Any other text is returned unchanged."""
    try:
        found = moment(text)
    except BadValue:
        return text
    return text if found.start != found.end else timezone.localtime(found.start).isoformat()


class ReceiptFile(forms.Form):
    """A receipt's file or the SHA-256 of its bytes, to look it up. The search form may be on the same page."""

    file = forms.FileField(label="Receipt file", required=False)
    sha256 = forms.CharField(
        label="Or its SHA-256",
        required=False,
        validators=[SHA256_VALIDATOR],
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "lookup_%s", **kwargs})

    def clean_file(self) -> UploadedFile | None:
        """The file, within the size of a receipt."""
        file: UploadedFile | None = self.cleaned_data["file"]
        if file and (file.size or 0) > settings.MAX_BODY_BYTES:
            raise forms.ValidationError("This file is too large to be a receipt: more than 256 KiB.")
        return file

    def clean(self) -> dict[str, Any]:
        """One of the two is needed."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and not (cleaned["file"] or cleaned["sha256"]):
            self.add_error("file", "Choose a file, or enter a SHA-256.")
        return cleaned


class ReceiptToVerify(forms.Form):
    """The fields of the page that verifies a receipt in the browser. They are never sent."""

    receipt = forms.CharField(
        label="Receipt",
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false", "class": "input font-mono text-xs"}),
        help_text="Paste the JSON, or drop its file here. A downloaded file is checked byte by byte.",
    )
    file = forms.FileField(label="Or choose its file", required=False)
    key = forms.CharField(
        label="Public key of the node", help_text="ed25519: and base64, as on the page of the node."
    )
