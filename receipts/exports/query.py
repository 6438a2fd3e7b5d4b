"""What is exported: a search of the receipts page, up to a moment that is fixed when its rows are counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

from jatevo.accounts.models import User
from jatevo.web.postgresql.replica import read
from jatevo.web.query_values import BadValue, moment
from jatevo.web.time_zones import UTC_NAME
from receipts.forms import ReceiptSearch
from receipts.models import Receipt, ReceiptQuerySet
from receipts.search.as_of import SETTLED_AFTER
from receipts.search.in_time import in_time

MOST_AT_ONCE: Final = 100_000  # rows that a web process streams; more are written by the worker
COUNT_SECONDS: Final = 3  # of the five that a page has
MINE: Final = "mine"
_ZONES: Final = ("", "utc", MINE)
OWN_PARAMETERS: Final = ("as_of", "zone")
# Of the receipts page. They may come along with a link.
_OF_THE_PAGE: Final = ("cursor", "before")


@dataclass(frozen=True)
class ExportQuery:
    """A search with the moment up to which it is exported, and the zone of the times in the file.

    `own_zone` is the person's, in which the days of the search are read. `given` has the parameters of the search as they were given. `problems` are in words, for the page.
    """

    search: ReceiptSearch
    given: QueryDict
    as_of: datetime
    zone: ZoneInfo
    own_zone: ZoneInfo
    problems: list[str]

    @property
    def found(self) -> ReceiptQuerySet:
        """The receipts of the file. None while there are problems."""
        found: ReceiptQuerySet = self.search.queryset.none() if self.problems else self.search.qs
        return found

    def count(self) -> int:
        """How many rows there are, exactly."""
        return read(lambda: self.found.order_by().count())

    def count_quickly(self) -> int | None:
        """The same, or None if that takes longer than a page can wait. The worker counts it then."""
        return read(lambda: in_time(self.found.order_by().count, seconds=COUNT_SECONDS))

    def is_large(self) -> bool:
        """Whether there are more rows than a web process streams, or so many that this takes too long to tell."""
        beyond = self.found.order_by().values_list("id")[MOST_AT_ONCE : MOST_AT_ONCE + 1]
        return read(lambda: in_time(lambda: len(list(beyond)), seconds=COUNT_SECONDS)) != 0

    def parameters(self) -> str:
        """The search as a query string: '?region=eu', or '' for everything."""
        return f"?{self.given.urlencode()}" if self.given else ""

    def parameters_as_of(self) -> str:
        """The same with the moment and the zone of the file: all that `read_query` needs for the same rows."""
        asked = self.given.copy()
        asked["as_of"] = self.as_of.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if self.zone.key != UTC_NAME:
            asked["zone"] = MINE
        return f"?{asked.urlencode()}"

    def file_name(self, file_format: str) -> str:
        """The name says up to when, and the zone of the times."""
        zone = slugify(self.zone.key.replace("/", "-"))
        return f"jatevo-receipts-{self.as_of.astimezone(self.zone):%Y-%m-%d-%H%M%S}-{zone}.{file_format}"


def read_query(params: QueryDict, user: User, *, zone: ZoneInfo, at: datetime, settled: bool) -> ExportQuery:
    """What was asked for, with its problems. `zone` is the person's own, in which days are read.

    Without `as_of`, the export is as of now or, if `settled`, as of the last moment before which nothing is added.
    """
    problems = []
    as_of = (at - SETTLED_AFTER).replace(microsecond=0) if settled else at
    if text := params.get("as_of", ""):
        try:
            as_of = moment(text, zone=zone).start
            if as_of > at:
                problems.append("As of: must not be in the future")
        except BadValue as error:
            problems.append(f"As of: {error}")
    if params.get("zone", "") not in _ZONES:
        problems.append(f"Zone: one of utc, {MINE}")
    with timezone.override(zone):
        visible = Receipt.objects.visible_to(user).filter(accepted_at__lt=as_of)
        search = ReceiptSearch(params, queryset=visible, also=(*OWN_PARAMETERS, *_OF_THE_PAGE))
        problems += search.problems
    file_zone = zone if params.get("zone") == MINE else ZoneInfo(UTC_NAME)
    return ExportQuery(search, search_only(params, search), as_of, file_zone, zone, problems)


def search_only(params: QueryDict, search: ReceiptSearch) -> QueryDict:
    """The parameters of the search that are set, without those of the page."""
    given = QueryDict(mutable=True)
    for name in search.filters:
        if texts := [text for text in params.getlist(name) if text]:
            given.setlist(name, texts)
    return given


def export_url(params: QueryDict, search: ReceiptSearch) -> str:
    """The page that exports what the list shows."""
    given = search_only(params, search)
    return f"{reverse('receipts:export')}{f'?{given.urlencode()}' if given else ''}"


def described(query: str) -> str:
    """A stored search in a line: 'Region: eu, Hedged: Not hedged', or 'All receipts'."""
    params = QueryDict(query.removeprefix("?"))
    search = ReceiptSearch(params, queryset=Receipt.objects.none())
    words = in_words(search, search_only(params, search))
    return ", ".join(f"{label}: {text}" for label, text in words) or "All receipts"


def in_words(search: ReceiptSearch, given: QueryDict) -> list[tuple[str, str]]:
    """Each filter that is set: its label, and its value as its field shows it."""
    words = []
    for name in given:
        field = search.form.fields[name]
        choices: Mapping[str, str] = {
            str(key): str(label) for key, label in getattr(field.widget, "choices", ())
        }
        texts = [choices.get(str(text), str(text)) for text in given.getlist(name)]
        words.append((str(field.label or name.replace("_", " ").capitalize()), ", ".join(texts)))
    return words
