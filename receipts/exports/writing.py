"""The worker's half of an export: part after part, each committed with its position.

A part is written by a conditional UPDATE that names how many there were. So two workers that write the same part, or
one that is killed, neither lose a row nor write one twice.
"""

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from django.db import DatabaseError, transaction
from django.db.models import F
from django.http import QueryDict
from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.web.csv_export import csv_lines
from jatevo.web.export_table import FileFormat
from jatevo.web.jsonl_export import jsonl_lines
from receipts.exports.access import in_same_role
from receipts.exports.columns import PaidReceipt, Position, rows_of, table
from receipts.exports.query import ExportQuery, read_query
from receipts.models import ExportState, ReceiptExport, ReceiptExportPart

log = structlog.get_logger(__name__)

MAIL_TASK: Final = "receipts.mail_export"  # in receipts/tasks.py
ROWS_PER_PART: Final = 5_000
MOST_FAILURES: Final = 5
_GZIP: Final = 16 + zlib.MAX_WBITS


@dataclass
class _Part:
    """The next part of a file, as it was read."""

    data: bytes
    rows: int
    nodes: set[str]
    last: Position | None
    is_last: bool


def write_exports(*, now: Callable[[], datetime] = timezone.now, seconds: float = 4.5) -> int:
    """Writes parts of the exports that wait, for about so many seconds. Returns how many.

    The one that waited longest is next. The job after this one goes on.
    """
    stop_at = time.monotonic() + seconds
    written = 0
    while time.monotonic() < stop_at:
        waiting = ReceiptExport.objects.filter(state=ExportState.WRITING).select_related("user")
        export = waiting.order_by(F("tried_at").asc(nulls_first=True), "created_at").first()
        if export is None:
            break
        written += write_part(export, at=now())
    return written


def write_part(export: ReceiptExport, *, at: datetime) -> bool:
    """Adds the next part of the file, or counts its rows before the first. Returns False if that was not possible.

    An export whose parts fail again and again ends, and says so.
    """
    try:
        query = _query_of(export, at=at)
        if export.expected_rows is None:
            return _count(export, query, at=at)
        part = _read_part(export, query)
    except _Refused as refused:
        _fail(export, str(refused), at=at)
        return False
    except DatabaseError as error:
        log.warning("a part of an export failed", export=str(export.pk), error=str(error).strip())
        _count_failure(export, at=at)
        return False
    return _store(export, part, at=at)


class _Refused(Exception):
    """The export must end. The message says why, for the person."""


def _query_of(export: ReceiptExport, *, at: datetime) -> ExportQuery:
    """What is exported, if the person still may. Raises _Refused."""
    if not in_same_role(export, export.user):
        raise _Refused("Your role or organisation has changed since.")
    zone = ZoneInfo(export.zone)
    query = read_query(QueryDict(export.query.removeprefix("?")), export.user, zone=zone, at=at, settled=True)
    if query.problems:
        raise _Refused(f"The search is not valid any more. {query.problems[0]}")
    return query


def _count(export: ReceiptExport, query: ExportQuery, *, at: datetime) -> bool:
    """Counts the rows, which took too long for the page. It shows them before the first is written."""
    counted = ReceiptExport.objects.filter(
        pk=export.pk, state=ExportState.WRITING, expected_rows=None
    ).update(expected_rows=query.count(), tried_at=at, failures=0)
    return bool(counted)


def _read_part(export: ReceiptExport, query: ExportQuery) -> _Part:
    after = None
    if export.last_accepted_at is not None and export.last_id is not None:
        after = Position(export.last_accepted_at, export.last_id)
    made = _Part(b"", 0, set(), after, is_last=False)
    compressor = zlib.compressobj(wbits=_GZIP)
    data = []
    for line in _lines(export, query, _noted(rows_of(query.found, after=after, most=ROWS_PER_PART), made)):
        data.append(compressor.compress(line.encode()))
    data.append(compressor.flush())
    made.data = b"".join(data)
    made.is_last = made.rows < ROWS_PER_PART
    if export.user.is_admin:
        made.nodes.clear()
    return made


def _noted(rows: Iterator[PaidReceipt], part: _Part) -> Iterator[PaidReceipt]:
    """The rows, while the part takes note of how many there are, whose, and which is the last."""
    for row in rows:
        part.rows += 1
        part.nodes.add(row.receipt.node_id)
        part.last = row.position
        yield row


def _lines(export: ReceiptExport, query: ExportQuery, rows: Iterator[PaidReceipt]) -> Iterator[str]:
    """The lines of the part. The first one begins with the file's header."""
    found = table(rows, query.zone)
    if export.file_format == FileFormat.JSONL:
        yield from jsonl_lines(found.objects(query.zone))
        return
    lines = csv_lines(found.header, found.csv_rows(), zone=query.zone)
    header = next(lines)
    if export.parts_written == 0:
        yield header
    yield from lines


def _store(export: ReceiptExport, part: _Part, *, at: datetime) -> bool:
    ended = {"state": ExportState.READY, "ended_at": at} if part.is_last else {}
    with transaction.atomic():
        won = ReceiptExport.objects.filter(
            pk=export.pk, state=ExportState.WRITING, parts_written=export.parts_written
        ).update(
            parts_written=F("parts_written") + 1,
            rows=F("rows") + part.rows,
            size_bytes=F("size_bytes") + len(part.data),
            last_accepted_at=part.last.accepted_at if part.last else None,
            last_id=part.last.id if part.last else None,
            tried_at=at,
            failures=0,
            **ended,
        )
        if not won:
            return False
        ReceiptExportPart.objects.create(
            export=export,
            number=export.parts_written,
            first_byte=export.size_bytes,
            size_bytes=len(part.data),
            data=part.data,
            nodes=sorted(part.nodes),
        )
        if part.is_last:
            app.configure_task(MAIL_TASK).defer(export_id=str(export.pk))
    return True


def _fail(export: ReceiptExport, problem: str, *, at: datetime) -> None:
    with transaction.atomic():
        ended = ReceiptExport.objects.filter(pk=export.pk, state=ExportState.WRITING).update(
            state=ExportState.FAILED, ended_at=at, problem=problem[:200]
        )
        if ended:
            ReceiptExportPart.objects.filter(export=export).delete()


def _count_failure(export: ReceiptExport, *, at: datetime) -> None:
    if export.failures + 1 >= MOST_FAILURES:
        _fail(export, "The database did not answer in time. Narrow the search.", at=at)
        return
    ReceiptExport.objects.filter(pk=export.pk, state=ExportState.WRITING).update(
        failures=F("failures") + 1, tried_at=at
    )
