"""The filters in use as chips above the list, in words."""

from collections.abc import Iterator

from django.http import QueryDict

from jatevo.web.query_values import BadValue, moment
from jatevo.web.templatetags.moments import exact_words
from nodes.list.query import AppliedFilter
from receipts.forms import CHOICES, LABELS, day_of
from receipts.ranges import with_changes

SPEAK_FOR_THEMSELVES = ("hedged", "cache_hit")  # their words need no label
LONGEST_SHOWN = 64
_HASH_SHOWN = 12


def applied_filters(query: QueryDict, path: str) -> Iterator[AppliedFilter]:
    """Each filter in use, with the URL of the same search without it. A value that makes no sense is shown as it is."""
    for name, label in LABELS.items():
        if value := query.get(name, ""):
            words = _words(name, value)
            said = words if name in SPEAK_FOR_THEMSELVES else f"{label}: {words}"
            yield AppliedFilter(said, with_changes(query, path, {name: ""}))


def _words(name: str, value: str) -> str:
    if name in CHOICES:
        return dict(CHOICES[name]).get(value, value[:LONGEST_SHOWN])
    if name in ("from", "to"):
        return _time_words(value)
    if name == "sha256":
        return value if len(value) <= _HASH_SHOWN else f"{value[:_HASH_SHOWN]}…"
    return value[:LONGEST_SHOWN]


def _time_words(text: str) -> str:
    if day := day_of(text):
        return f"{day:%-d %b %Y}"
    try:
        return exact_words(moment(text.strip()).start)
    except BadValue:
        return text[:LONGEST_SHOWN]
