"""Saved views of the receipts page: what is stored of a search, and what opens it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.http import QueryDict
from django.utils import timezone

from jatevo.accounts.models import User
from jatevo.accounts.saved_views import ViewNotSaved
from receipts.forms import ReceiptSearch, tidy
from receipts.models import Receipt, ReceiptView
from receipts.ranges import PRESETS, absolute, chosen_preset


@dataclass(frozen=True)
class ViewLink:
    """A saved view with the query string that opens it today. `active`: it is what the page shows."""

    view: ReceiptView
    query: str
    active: bool


def kept_of(query: QueryDict, *, at: datetime) -> QueryDict:
    """What a view keeps of a search. Raises ViewNotSaved for a search that makes no sense."""
    kept = tidy(query)
    if not kept.get("from") and not kept.get("to"):
        return kept
    if preset := chosen_preset(kept, at=at):
        for name in ("from", "to"):
            kept.pop(name, None)
        kept["preset"] = preset.key
        return kept
    search = ReceiptSearch(kept, queryset=Receipt.objects.none())
    if search.problems:
        raise ViewNotSaved("Correct the search first.")
    cleaned = search.form.cleaned_data
    for name, value in absolute(cleaned["from"], cleaned["to"]).items():
        kept[name] = value
    return kept


def opened(stored: str, *, at: datetime) -> QueryDict:
    """The search of a stored view, with the days that its preset has now."""
    query = QueryDict(stored, mutable=True)
    key = query.pop("preset", [""])[-1]
    for preset in PRESETS:
        if preset.key == key:
            query.update({name: day for name, day in preset.days(timezone.localdate(at)).items() if day})
    return query


def views_of(user: object, query: QueryDict, *, at: datetime) -> Iterator[ViewLink]:
    """The person's saved views. `query` is what the page shows."""
    if not isinstance(user, User):
        return
    here = tidy(query)
    for view in ReceiptView.objects.filter(user=user):
        search = opened(view.query, at=at)
        yield ViewLink(view, search.urlencode(), search == here)
