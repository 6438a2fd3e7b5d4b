"""The file of an export: CSV for the program that makes the payments, and for whoever checks them.

RFC 4180 in UTF-8, without a byte order mark. Texts that a spreadsheet could run as a formula are escaped. The
bytes depend only on the arguments.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from earnings.models import Payment
from jatevo.web.csv_export import defused

HEADER: Final = (
    "reference", "export", "created_at", "organisation_id", "organisation", "node_id", "chain", "address", "amount", "currency",
)  # fmt: skip


@dataclass(frozen=True)
class PaymentLine:
    """What the file says about a payment. `node_id` is '' for the wallet of an organisation."""

    org_id: str
    org_name: str
    node_id: str
    chain: str
    address: str
    paid_usd: Decimal

    @classmethod
    def of(cls, payment: Payment, org_name: str) -> "PaymentLine":
        return cls(
            str(payment.org_id),
            org_name,
            payment.node_id or "",
            payment.chain,
            payment.address,
            payment.paid_usd,
        )


def file_body(number: int, at: datetime, lines: Sequence[PaymentLine]) -> bytes:
    """The file: a header, and a line for each payment in the order of their ids."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    created_at = at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    for position, line in enumerate(lines, start=1):
        writer.writerow(
            (
                reference(number, position),
                number,
                created_at,
                line.org_id,
                defused(line.org_name),
                defused(line.node_id),
                line.chain,
                line.address,
                f"{line.paid_usd:.2f}",
                "USD",
            )
        )
    return text.getvalue().encode()


def reference(number: int, position: int) -> str:
    """What a payment is called outside of the console, such as `JTV-000012-0003`."""
    return f"JTV-{number:06d}-{position:04d}"
