"""Staff's view of the evidence against nodes."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from receipts.models import ForgedReceipt


@admin.register(ForgedReceipt)
class ForgedReceiptAdmin(admin.ModelAdmin):
    """Receipts that a node signed wrongly. Nobody edits evidence."""

    list_display = ("received_at", "node", "request_id", "detail")
    search_fields = ("node__id", "request_id")
    fields = ("node", "request_id", "received_at", "detail", "bytes_as_text", "sha256_hex")

    @admin.display(description="Bytes received")
    def bytes_as_text(self, forged: ForgedReceipt) -> str:
        return bytes(forged.raw).decode(errors="replace")

    @admin.display(description="SHA-256")
    def sha256_hex(self, forged: ForgedReceipt) -> str:
        return bytes(forged.sha256).hex()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
