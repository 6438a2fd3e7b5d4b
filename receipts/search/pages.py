"""The totals of a search: a part of the list's page, and a page of its own with the numbers of the histogram."""

from typing import Final

from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.accounts.permissions import Permission, allowed, require
from jatevo.web.fragments import page_or_fragment
from jatevo.web.postgresql.replica import read
from receipts.chips import applied_filters
from receipts.exports.query import export_url
from receipts.forms import ReceiptSearch, tidy
from receipts.models import Receipt
from receipts.ranges import with_changes
from receipts.search.strip import strip_of
from receipts.search.totals import totals_of

POLL_SECONDS: Final = 30
TABLE: Final = "table"


@require_safe
@require(Permission.VIEW_RECEIPTS)
def totals(request: HttpRequest) -> HttpResponse:
    """The totals and the histogram of what the person sees of the search."""
    at = timezone.now()
    search = ReceiptSearch(request.GET, queryset=Receipt.objects.visible_to(request.user), also=[TABLE])
    with_table = bool(request.GET.get(TABLE))
    query, list_path = tidy(request.GET), reverse("receipts:list")
    context = {
        "search": search,
        "list_url": with_changes(query, list_path, {}),
        "applied": list(applied_filters(query, request.path)),
        "here": with_table_url(query) if with_table else totals_url(query),
        "with_table": with_table,
        "numbers_url": totals_url(query) if with_table else with_table_url(query),
        "poll_seconds": POLL_SECONDS,
    }
    if not search.problems:
        found = read(lambda: totals_of(search, request.user, at=at))
        with_fees = allowed(request.user, Permission.VIEW_EARNINGS)
        strip = strip_of(found, query, list_path, at=at, with_fees=with_fees)
        context |= {"strip": strip, "with_fees": with_fees}
        if found.totals is not None:
            moment = strip.as_of.isoformat().replace("+00:00", "Z")
            _, last = search.times
            if last is None or last.end > strip.as_of:
                context["list_url_as_of"] = with_changes(query, list_path, {"to": moment})
            export = export_url(request.GET, search)
            context["export_url"] = f"{export}{'&' if '?' in export else '?'}as_of={moment}"
    return page_or_fragment(request, "receipts/totals.html", context, fragments={"receipts-totals": "totals"})


def totals_url(query: QueryDict) -> str:
    """The address of the totals of a tidy search."""
    return with_changes(query, reverse("receipts:totals"), {})


def with_table_url(query: QueryDict) -> str:
    """The same with the numbers of the bars."""
    return with_changes(query, reverse("receipts:totals"), {TABLE: "numbers"})
