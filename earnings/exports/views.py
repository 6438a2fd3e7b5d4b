"""The export page, and the files."""

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from earnings.exports import tables
from earnings.exports.receipts import receipts
from earnings.exports.tables import What
from earnings.figures.query import NARROWING, OF_RECEIPTS, EarningsQuery, read_query
from earnings.figures.scope import NotYours
from earnings.figures.series import Step
from earnings.rules.verdicts import VerdictState
from jatevo.accounts.models import Org
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.accounts.time_zones import zone_of
from jatevo.audit.record import actor_of, record
from jatevo.web.csv_export import csv_answer
from jatevo.web.export_table import ExportTable, FileFormat
from jatevo.web.jsonl_export import jsonl_answer
from jatevo.web.page_limits import count_export
from jatevo.web.query_values import strangers
from jatevo.web.time_zones import UTC_NAME

_STEPS: Final = (Step.DAY, Step.WEEK, Step.MONTH)
_MINE: Final = "mine"
# The page's own parameters that mean nothing for a file. They may come along with a link.
_OF_THE_PAGE: Final = ("by", "sort", "page", "rows", "cursor")
_KNOWN: Final = (*NARROWING, *OF_RECEIPTS, "step", "zone", "what", "format", *_OF_THE_PAGE)


@require_safe
@require(Permission.VIEW_EARNINGS)
def choose(request: HttpRequest) -> HttpResponse:
    """The form for a file. With `what` and `format` it leads to the file."""
    what, wanted_format = request.GET.get("what", ""), request.GET.get("format", "")
    if what in list(What) and wanted_format in list(FileFormat):
        return redirect(f"{_file_path(what, wanted_format)}{_rest(request.GET)}")
    query, problems = _read(request, at=timezone.now())
    context = {
        "query": query,
        "problems": problems,
        "chosen_what": what,
        "step": request.GET.get("step", ""),
        "whats": [(each.value, each.label) for each in What],
        "formats": [(each.value, each.label) for each in FileFormat],
        "steps": [(each.value, f"By {each.value}") for each in _STEPS],
        "states": [(each.value, each.label) for each in VerdictState],
        "zone_name": _zone_name(zone_of(request)),
        "orgs": Org.objects.values_list("pk", "name") if user_of(request).is_admin else (),
    }
    return render(request, "earnings/export.html", context, status=422 if problems else 200)


@require_safe
@require(Permission.VIEW_EARNINGS)
def file(request: HttpRequest, what: str, file_format: str) -> HttpResponseBase:
    """A file, with the page's filters.

    A filter that makes no sense leads to the form, which says so: a wrong file would hide the mistake.
    """
    count_export(request)
    now = timezone.now()
    query, problems = _read(request, at=now)
    if problems:
        messages.error(request, "Nothing was exported. Correct the filters first.")
        return redirect(f"{reverse('earnings:export')}{_rest(request.GET)}")
    user = user_of(request)
    with transaction.atomic():
        record(
            "earnings.export",
            by=actor_of(user),
            subject_kind="earnings",
            subject_id=what,
            org_id=query.scope.org_id,
            format=file_format,
            query=_rest(request.GET),
        )
    zone = zone_of(request) if request.GET.get("zone") == _MINE else ZoneInfo(UTC_NAME)
    if what != What.RECEIPTS:
        zone = ZoneInfo(UTC_NAME)
    step = Step(request.GET.get("step") or Step.DAY)
    table = _table(What(what), query, step, zone, at=now)
    name = f"{_name(What(what), query, step, zone)}.{file_format}"
    if file_format == FileFormat.CSV:
        return csv_answer(table.header, table.csv_rows(), name=name, zone=zone)
    return jsonl_answer(table.objects(zone), name=name)


def _table(what: What, query: EarningsQuery, step: Step, zone: ZoneInfo, *, at: datetime) -> ExportTable[Any]:
    match what:
        case What.PERIODS:
            return tables.periods(query, step, at=at)
        case What.NODES:
            return tables.nodes(query)
        case What.MODELS:
            return tables.models(query)
        case What.LINES:
            return tables.lines_table(query)
        case What.RECEIPTS:
            return receipts(query, zone_name=_zone_name(zone))


def _name(what: What, query: EarningsQuery, step: Step, zone: ZoneInfo) -> str:
    """The name says what is in it: the days, whose, and for receipts the time zone."""
    parts = ["jatevo-earnings", what.value]
    if what is What.PERIODS:
        parts.append(f"by-{step.value}")
    parts += [slugify(query.given[name]) for name in ("node", "model", "state") if name in query.given]
    parts += [query.first.isoformat(), "to", query.last.isoformat()]
    if what is What.RECEIPTS:
        parts.append(slugify(_zone_name(zone).replace("/", "-")))
    return "-".join(filter(None, parts))


def _read(request: HttpRequest, *, at: datetime) -> tuple[EarningsQuery, dict[str, str]]:
    """What was asked for, and what is wrong with it. Raises Http404 for another organisation."""
    given = {name: str(text) for name, text in request.GET.items() if str(text).strip()}
    problems = {each.field: each.message for each in strangers(_filled(request.GET), _KNOWN)}
    # a file has no most steps, as a chart has: by month the range is the widest
    asked = {name: text for name, text in given.items() if name not in ("step", "by")}
    try:
        query = read_query({**asked, "step": Step.MONTH}, request.user, at=at)
    except NotYours as error:
        raise Http404 from error
    problems |= query.problems
    for name, choices in (
        ("step", [*_STEPS, ""]),
        ("zone", [_MINE, "utc", ""]),
        ("what", [*What, ""]),
        ("format", [*FileFormat, ""]),
    ):
        if given.get(name, "") not in choices:
            problems[name] = "one of " + ", ".join(filter(None, choices))
    return query, problems


def _filled(params: QueryDict) -> QueryDict:
    """Without the fields of the form that were left empty."""
    filled = QueryDict(mutable=True)
    for name, texts in params.lists():
        if any(texts):
            filled.setlist(name, texts)
    return filled


def _rest(params: QueryDict) -> str:
    """The filters as a query string, without what the path of the file says."""
    rest = _filled(params)
    for name in ("what", "format"):
        rest.pop(name, None)
    return f"?{rest.urlencode()}" if rest else ""


def _file_path(what: str, file_format: str) -> str:
    return reverse("earnings:export-file", args=[what, file_format])


def _zone_name(zone: ZoneInfo) -> str:
    return zone.key
