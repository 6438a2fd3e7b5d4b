"""Django admin for gateways, their dispatches and forged receipts."""

from django.contrib import admin

from jatevo.web.admin import ReadOnlyAdmin
from nodes.admin import SenderAdmin
from receipts.models import Dispatch, DispatchConflict, DispatchWinner, ForgedReceipt, Gateway


@admin.register(Gateway)
class GatewayAdmin(SenderAdmin):
    token_variable = "JATEVO_GATEWAY_TOKEN"  # noqa: S105 - a name


@admin.register(Dispatch)
class DispatchAdmin(ReadOnlyAdmin):
    """What gateways reported. Read-only, because payments rest on it."""

    list_display = ("received_at", "request_id", "node_id", "model_id", "ts", "hedged", "gateway")
    list_filter = ("gateway",)
    search_fields = ("request_id__exact",)
    show_full_result_count = False


@admin.register(DispatchWinner)
class DispatchWinnerAdmin(ReadOnlyAdmin):
    """Whose answer to a hedged request a gateway used."""

    list_display = ("received_at", "request_id", "node_id", "gateway")
    list_filter = ("gateway",)
    search_fields = ("request_id__exact",)
    show_full_result_count = False


@admin.register(DispatchConflict)
class DispatchConflictAdmin(ReadOnlyAdmin):
    """Contradictions of gateways. The earlier statement stands."""

    list_display = ("received_at", "gateway", "request_id", "node_id", "before", "now", "times")
    list_filter = ("gateway",)
    search_fields = ("request_id__exact", "node_id__exact")


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
