"""The mail to the person whose export is ready."""

from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from receipts.exports.access import expires_at, may_have
from receipts.models import ExportState, ReceiptExport

SUBJECT: Final = "Your Jatevo export is ready"


def mail_ready(*, export_id: str) -> bool:
    """Sends the mail. Returns False if the file is gone or no longer theirs. Called by the worker."""
    export = ReceiptExport.objects.select_related("user").filter(pk=UUID(export_id)).first()
    if export is None or export.state != ExportState.READY or not may_have(export, export.user):
        return False
    expires = expires_at(export)
    context = {
        "export": export,
        "rows": f"{export.rows:,}",
        "expires": f"{expires:%-d %B %Y, %H:%M} UTC" if expires else "",
        "page": f"{settings.BASE_URL}{reverse('receipts:export')}{export.query}",
    }
    send_mail(SUBJECT, render_to_string("receipts/mail/export.txt", context), None, [export.user.email])
    return True
