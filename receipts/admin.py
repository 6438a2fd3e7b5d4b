"""Django admin for gateways, their dispatches and refused receipts."""

from django.contrib import admin

from jatevo.web.admin import ReadOnlyAdmin
from nodes.admin import SenderAdmin
from receipts.models import Dispatch, DispatchConflict, DispatchWinner, Gateway, RefusedReceipt


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


@admin.register(RefusedReceipt)
class RefusedReceiptAdmin(ReadOnlyAdmin):
    """Refused receipts. Read-only, because they are evidence."""

    list_display = ("received_at", "node", "request_id", "reason", "detail")
    list_filter = ("reason",)
    search_fields = ("node__id", "request_id")
    fields = (
        "node",
        "request_id",
        "received_at",
        "reason",
        "detail",
        "bytes_as_text",
        "whole_size_bytes",
        "sha256_hex",
    )

    @admin.display(description="Bytes received")
    def bytes_as_text(self, refused: RefusedReceipt) -> str:
        return bytes(refused.raw).decode(errors="replace")

    @admin.display(description="SHA-256")
    def sha256_hex(self, refused: RefusedReceipt) -> str:
        return bytes(refused.sha256).hex()
