"""The columns of an exported receipt, and its rows, which are read while the file is written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Q

from jatevo.web.export_table import ExportTable, FileColumn, Value
from jatevo.web.postgresql.replica import read
from receipts.models import Receipt, ReceiptQuerySet
from receipts.serializers import ReceiptLine
from receipts.slots import PaymentState, payments

ROWS_AT_ONCE: Final = 2_000
# Of the receipt, what no file has. Reading it would take a quarter of the time.
_UNUSED: Final = ("raw", "payload", "public_key", "key_since", "key_until", "concurrency", "org_id")


@dataclass(frozen=True)
class PaidReceipt:
    """A receipt and whether it is paid."""

    receipt: Receipt
    payment: PaymentState

    @property
    def position(self) -> "Position":
        return Position(self.receipt.accepted_at, self.receipt.id)


@dataclass(frozen=True)
class Position:
    """A receipt's place in the order of files, which is that of the list."""

    accepted_at: datetime
    id: int


def _field(name: str) -> FileColumn[PaidReceipt]:
    return FileColumn(name, lambda row: getattr(row.receipt, name))


# What the API's fields are in a file, where it is not the receipt's value itself.
_WRITTEN: Final[dict[str, list[FileColumn[PaidReceipt]]]] = {
    "payment": [
        FileColumn("payment_state", lambda row: row.payment.state),
        FileColumn("payment_rule", lambda row: row.payment.rule or None),
    ],
    "sha256": [FileColumn("sha256", lambda row: bytes(row.receipt.sha256).hex())],
}


def columns(zone: ZoneInfo) -> list[FileColumn[PaidReceipt]]:
    """The fields of the API in their order, and the zone of the times."""
    found: list[FileColumn[PaidReceipt]] = []
    for name in ReceiptLine.Meta.fields:
        found += _WRITTEN.get(name) or [_field(name)]
        if name == "accepted_at":
            found.append(FileColumn("time_zone", _always(zone.key)))
    return found


def table(rows: Iterator[PaidReceipt], zone: ZoneInfo) -> ExportTable[PaidReceipt]:
    """The rows as a file."""
    return ExportTable(columns(zone), rows)


def rows_of(
    found: ReceiptQuerySet, *, after: Position | None = None, most: int | None = None
) -> Iterator[PaidReceipt]:
    """The receipts after a position, newest first. Memory holds one part of them, and each is a query of its own.

    So no transaction stays open for as long as somebody downloads, and no query takes longer than a page's may.
    """
    left = most
    while left is None or left > 0:
        limit = ROWS_AT_ONCE if left is None else min(ROWS_AT_ONCE, left)
        part = rows_after(found, after, limit=limit)
        yield from part
        if len(part) < limit:
            return
        after = part[-1].position
        left = None if left is None else left - limit


def rows_after(found: ReceiptQuerySet, after: Position | None, *, limit: int) -> list[PaidReceipt]:
    """The next rows, newest first. Two queries, whatever their number."""
    rest = found if after is None else found.filter(_below(after))
    slim = rest.select_related(None).defer(*_UNUSED).order_by("-accepted_at", "-id")

    def paid() -> list[PaidReceipt]:
        receipts = list(slim[:limit])
        states = payments(receipts)
        return [PaidReceipt(receipt, states[receipt.id]) for receipt in receipts]

    return read(paid)


def _below(after: Position) -> Q:
    # the outer bound lets PostgreSQL start within the index and skip partitions
    return Q(accepted_at__lte=after.accepted_at) & (Q(accepted_at__lt=after.accepted_at) | Q(id__lt=after.id))


def _always(text: str) -> Callable[[PaidReceipt], Value]:
    return lambda row: text
