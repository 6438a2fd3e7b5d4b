"""Django admin for forged receipts."""

from django.contrib import admin

from jatevo.web.admin import ReadOnlyAdmin
from receipts.models import ForgedReceipt


@admin.register(ForgedReceipt)
class ForgedReceiptAdmin(ReadOnlyAdmin):
    """Forged receipts. Read-only, because they are evidence."""

    list_display = ("received_at", "node", "request_id", "detail")
    search_fields = ("node__id", "request_id")
    fields = ("node", "request_id", "received_at", "detail", "bytes_as_text", "sha256_hex")

    @admin.display(description="Bytes received")
    def bytes_as_text(self, forged: ForgedReceipt) -> str:
        return bytes(forged.raw).decode(errors="replace")

    @admin.display(description="SHA-256")
    def sha256_hex(self, forged: ForgedReceipt) -> str:
        return bytes(forged.sha256).hex()
