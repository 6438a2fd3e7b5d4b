"""What earnings add to the pages and the API of receipts: whether each receipt is paid.

The app `earnings` lies above this one, so it registers its source here when it starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jatevo.web.templatetags.tones import Tone
from receipts.models import Receipt


@dataclass(frozen=True)
class PaymentState:
    """The payment verdict on a receipt.

    `label` and `tone` are those of its chip, `sentence` gives the reason with its numbers, `url` leads to
    more ('' for nowhere). `rule` is the key of the rule that decided, '' where none did.
    """

    state: Literal["pending", "payable", "held", "excluded"]
    label: str
    tone: Tone
    sentence: str
    url: str = ""
    rule: str = ""


NOT_JUDGED = PaymentState("pending", "Pending", Tone.IDLE, "Not judged yet.")

# The states of receipts by receipt id. Receipts that it does not know are left out. It is called once for a
# page, with all of its receipts, and answers with a constant number of queries.
PaymentSource = Callable[[Sequence[Receipt]], Mapping[int, PaymentState]]

_sources: list[PaymentSource] = []


def register_payment(source: PaymentSource) -> None:
    """Sets the source of payment verdicts. A second one takes the place of the first."""
    _sources[:] = [source]


def payments(receipts: Sequence[Receipt]) -> dict[int, PaymentState]:
    """The payment state of each receipt, by receipt id."""
    known = _sources[0](receipts) if _sources and receipts else {}
    return {receipt.id: known.get(receipt.id, NOT_JUDGED) for receipt in receipts}
