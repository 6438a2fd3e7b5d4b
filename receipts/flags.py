"""What is implausible about one receipt: what earnings find, and a clock that is ahead."""

from dataclasses import dataclass

from nodes.rules.clock import ahead, in_seconds, is_off
from receipts.models import Receipt
from receipts.slots import Plausibility, ReceiptFlag, plausibility


@dataclass(frozen=True)
class ShownFlags:
    """`judged`: earnings have looked at the receipt."""

    found: Plausibility
    judged: bool


def flags_on(receipt: Receipt) -> ShownFlags:
    """The flags on a receipt, with their numbers."""
    judged = plausibility(receipt)
    found = judged or Plausibility()
    return ShownFlags(Plausibility([*found.flags, *_clock(receipt)], found.in_order), judged is not None)


def _clock(receipt: Receipt) -> list[ReceiptFlag]:
    """A request cannot end after its receipt was accepted. A delay, on the other hand, is no sign of a wrong clock."""
    early = ahead(receipt.ts_end.timestamp(), receipt.accepted_at)
    if early.total_seconds() <= 0 or not is_off(early):
        return []
    sentence = (
        f"The request ended {in_seconds(early)} after its receipt was accepted,"
        " so the clock of the node was at least that far ahead."
    )
    return [ReceiptFlag("Clock ahead", sentence)]
