"""Starting a large export and removing one. The worker writes it (writing.py)."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from jatevo.web.export_table import FileFormat
from receipts.exports.query import ExportQuery
from receipts.models import ReceiptExport

MOST_KEPT: Final = 5


class ExportRunning(Exception):
    """The person's last export is still being written."""


def start_export(
    *, query: ExportQuery, file_format: FileFormat, rows: int | None, by: User, at: datetime
) -> ReceiptExport:
    """A new export for the worker. The person's oldest make room for it. Raises ExportRunning.

    Without the number of rows, the worker counts them first.
    """
    try:
        with transaction.atomic():
            made = ReceiptExport.objects.create(
                user=by,
                role=by.role,
                org_id=by.org_id,
                query=query.parameters_as_of(),
                file_format=file_format,
                file_name=f"{query.file_name(file_format)}.gz",
                zone=query.own_zone.key,
                expected_rows=rows,
                created_at=at,
            )
            kept = ReceiptExport.objects.filter(user=by).order_by("-created_at", "-pk")
            surplus = list(kept.values_list("pk", flat=True)[MOST_KEPT:])
            ReceiptExport.objects.filter(pk__in=surplus).delete()
            record(
                "receipts.export_started",
                by=actor_of(by),
                subject_kind="receipt_export",
                subject_id=str(made.pk),
                query=made.query,
                format=file_format,
                rows=rows,
            )
    except IntegrityError as error:
        raise ExportRunning from error
    return made


def remove_export(*, export_id: UUID, by: User) -> bool:
    """Cancels an export, or deletes its file. Only its maker may. Returns False if there is none."""
    with transaction.atomic():
        found = ReceiptExport.objects.filter(pk=export_id, user=by).first()
        if found is None:
            return False
        found.delete()
        record(
            "receipts.export_removed",
            by=actor_of(by),
            subject_kind="receipt_export",
            subject_id=str(export_id),
            state=found.state,
        )
    return True
