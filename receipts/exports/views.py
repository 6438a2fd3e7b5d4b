"""The page of exports, the files that are streamed at once, and those that the worker writes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.accounts.time_zones import zone_of
from jatevo.audit.record import actor_of, record
from jatevo.web.capped_work import EXPORTS
from jatevo.web.csv_export import csv_answer
from jatevo.web.export_table import FileFormat
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from jatevo.web.jsonl_export import jsonl_answer
from jatevo.web.page_limits import count_export
from receipts.exports.access import expires_at, may_have
from receipts.exports.actions import MOST_KEPT, ExportRunning, remove_export, start_export
from receipts.exports.columns import columns, rows_of, table
from receipts.exports.download import file_answer
from receipts.exports.query import MINE, MOST_AT_ONCE, ExportQuery, described, in_words, read_query
from receipts.models import ExportState, ReceiptExport

POLL_SECONDS = 2
_FRAGMENTS = {"export-files": "files"}


@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.VIEW_RECEIPTS)
def exports(request: HttpRequest) -> HttpResponse:
    """What the search finds, counted exactly, with the buttons for its file; and the files that the worker wrote.

    POST asks the worker for a file.
    """
    if request.method == "POST":
        return _start(request)
    files = _files(user_of(request))
    context: dict[str, Any] = {
        "files": files,
        "files_url": reverse("receipts:export"),
        "poll_seconds": POLL_SECONDS if any(each.writing for each in files) else None,
        "most_kept": MOST_KEPT,
    }
    status = 200
    if wanted_fragment(request, _FRAGMENTS) is None:
        query = _read(request, request.GET, settled=True)
        context |= _new_export(request, query)
        status = 422 if query.problems else 200
    return page_or_fragment(request, "receipts/export.html", context, fragments=_FRAGMENTS, status=status)


@require_safe
@require(Permission.VIEW_RECEIPTS)
def stream(request: HttpRequest, file_format: str) -> HttpResponseBase:
    """The file, streamed at once, with the same search as on the page.

    A search that makes no sense leads to the page, which says so: a wrong file would hide the mistake. So does one
    that finds too much.
    """
    count_export(request)
    query = _read(request, request.GET, settled=False)
    if query.problems:
        messages.error(request, "Nothing was exported. Correct the search first.")
        return redirect(f"{reverse('receipts:export')}?{request.GET.urlencode()}")
    if query.is_large():
        messages.info(request, f"There are more than {MOST_AT_ONCE:,} rows. Prepare the file here.")
        return redirect(f"{reverse('receipts:export')}?{request.GET.urlencode()}")
    user = user_of(request)
    with transaction.atomic():
        record(
            "receipts.export",
            by=actor_of(user),
            subject_kind="receipts",
            subject_id=file_format,
            query=query.parameters(),
            as_of=query.as_of.isoformat(),
        )
    found = table(rows_of(query.found), query.zone)
    name = query.file_name(file_format)
    if file_format == FileFormat.CSV:
        return csv_answer(found.header, found.csv_rows(), name=name, zone=query.zone)
    return jsonl_answer(found.objects(query.zone), name=name)


@require_safe
@require(Permission.VIEW_RECEIPTS)
def download(request: HttpRequest, export_id: UUID) -> HttpResponseBase:
    """A file that the worker wrote, for the person who asked for it, while they may see what is in it."""
    user = user_of(request)
    export = ReceiptExport.objects.filter(pk=export_id, user=user, state=ExportState.READY).first()
    if export is None or _is_over(export, at=timezone.now()):
        raise Http404
    if not may_have(export, user):
        raise PermissionDenied
    answer = file_answer(request, export)
    if answer.status_code == 200:  # the ranges of a resumed download are not new downloads
        with transaction.atomic():
            record(
                "receipts.export_downloaded",
                by=actor_of(user),
                subject_kind="receipt_export",
                subject_id=str(export.pk),
            )
    return answer


@require_POST
@require(Permission.VIEW_RECEIPTS)
def remove(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """Cancels an export that is written, or deletes its file."""
    if remove_export(export_id=export_id, by=user_of(request)):
        messages.success(request, "Export removed.")
    return redirect("receipts:export")


def _start(request: HttpRequest) -> HttpResponse:
    count_export(request)
    file_format = request.POST.get("format", "")
    params = request.POST.copy()
    for name in ("format", "csrfmiddlewaretoken"):
        params.pop(name, None)
    query = _read(request, params, settled=True)
    page = f"{reverse('receipts:export')}{query.parameters()}"
    if query.problems or file_format not in list(FileFormat):
        messages.error(request, "Nothing was exported. Correct the search first.")
        return redirect(f"{reverse('receipts:export')}?{params.urlencode()}")
    with EXPORTS.held():
        rows = query.count_quickly()
    try:
        start_export(
            query=query,
            file_format=FileFormat(file_format),
            rows=rows,
            by=user_of(request),
            at=timezone.now(),
        )
    except ExportRunning:
        messages.warning(request, "Your last export is still being written. Wait for it, or cancel it.")
    return redirect(page)


def _new_export(request: HttpRequest, query: ExportQuery) -> dict[str, Any]:
    zone = zone_of(request)
    with EXPORTS.held():
        rows = query.count_quickly()
    return {
        "query": query,
        "words": in_words(query.search, query.given),
        "rows": rows,
        "large": rows is None or rows > MOST_AT_ONCE,
        "most_at_once": MOST_AT_ONCE,
        "columns": [column.name for column in columns(zone)],
        "hidden": [(name, text) for name, texts in query.given.lists() for text in texts],
        "as_of": query.as_of.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "formats": list(FileFormat),
        "own_zone": zone.key if zone.key != "UTC" else "",
        "mine": MINE,
        "sends_mail": settings.SENDS_MAIL,
        "list_url": f"{reverse('receipts:list')}{query.parameters()}",
    }


def _read(request: HttpRequest, params: QueryDict, *, settled: bool) -> ExportQuery:
    return read_query(params, user_of(request), zone=zone_of(request), at=timezone.now(), settled=settled)


@dataclass(frozen=True)
class StoredFile:
    """An export as the page lists it. `share` is in percent. `theirs`: the person may still have it."""

    export: ReceiptExport
    expires_at: datetime | None
    theirs: bool

    @property
    def writing(self) -> bool:
        return self.export.state == ExportState.WRITING

    @property
    def ready(self) -> bool:
        return self.export.state == ExportState.READY and self.theirs

    @property
    def share(self) -> int:
        if not self.export.expected_rows:
            return 0  # also while it is not counted yet
        return min(100, self.export.rows * 100 // self.export.expected_rows)

    @property
    def search(self) -> str:
        return described(self.export.query)

    @property
    def format_label(self) -> str:
        return FileFormat(self.export.file_format).label

    @property
    def size_mib(self) -> float:
        return self.export.size_bytes / 2**20

    @property
    def problem(self) -> str:
        if self.export.state == ExportState.READY and not self.theirs:
            return "You may no longer see some of its receipts."
        return self.export.problem


def _files(user: User) -> list[StoredFile]:
    now = timezone.now()
    found = [each for each in ReceiptExport.objects.filter(user=user) if not _is_over(each, at=now)]
    return [
        StoredFile(each, expires_at(each), each.state != ExportState.READY or may_have(each, user))
        for each in found
    ]


def _is_over(export: ReceiptExport, *, at: datetime) -> bool:
    end = expires_at(export)
    return end is not None and end <= at
