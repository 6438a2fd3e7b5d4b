"""The tables of receipts: accepted and refused ones, the queue for earnings, dispatches by gateways, exports, views."""

from receipts.models.dispatch import Dispatch, DispatchConflict, DispatchWinner, Gateway
from receipts.models.export import ExportState, ReceiptExport, ReceiptExportPart
from receipts.models.queue import UnjudgedReceipt, UnjudgedRequest
from receipts.models.receipt import Receipt, ReceiptIdentity, ReceiptQuerySet, Sight, find_receipt, sight_of
from receipts.models.refusal import RefusalReason, RefusedReceipt, RefusedReceiptQuerySet, UnkeptRefusals
from receipts.models.view import ReceiptView

__all__ = [
    "Dispatch",
    "DispatchConflict",
    "DispatchWinner",
    "ExportState",
    "Gateway",
    "Receipt",
    "ReceiptExport",
    "ReceiptExportPart",
    "ReceiptIdentity",
    "ReceiptQuerySet",
    "ReceiptView",
    "RefusalReason",
    "RefusedReceipt",
    "RefusedReceiptQuerySet",
    "Sight",
    "UnjudgedReceipt",
    "UnjudgedRequest",
    "UnkeptRefusals",
    "find_receipt",
    "sight_of",
]
