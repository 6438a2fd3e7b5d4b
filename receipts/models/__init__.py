"""The tables of receipts: accepted and forged ones, the queue for earnings, and dispatches by gateways."""

from receipts.models.dispatch import Dispatch, DispatchConflict, DispatchWinner, Gateway
from receipts.models.forgery import ForgedReceipt
from receipts.models.queue import UnjudgedReceipt, UnjudgedRequest
from receipts.models.receipt import Receipt, ReceiptIdentity, ReceiptQuerySet

__all__ = [
    "Dispatch",
    "DispatchConflict",
    "DispatchWinner",
    "ForgedReceipt",
    "Gateway",
    "Receipt",
    "ReceiptIdentity",
    "ReceiptQuerySet",
    "UnjudgedReceipt",
    "UnjudgedRequest",
]
