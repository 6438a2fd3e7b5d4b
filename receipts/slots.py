"""What earnings add to receipts: whether each is paid, how plausible it is, and which months of them are still needed.

The app `earnings` lies above this one, so it registers its source here when it starts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, Protocol, get_args

from jatevo.web.templatetags.tones import Tone
from receipts.models import Receipt, ReceiptQuerySet
from receipts.partitions import Month

State = Literal["pending", "payable", "held", "excluded"]
PAYMENT_STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(frozen=True)
class PaymentState:
    """The payment verdict on a receipt.

    `label` and `tone` are those of its chip, `sentence` gives the reason with its numbers, `url` leads to
    more ('' for nowhere). `rule` is the key of the rule that decided, '' where none did.
    """

    state: State
    label: str
    tone: Tone
    sentence: str
    url: str = ""
    rule: str = ""


NOT_JUDGED = PaymentState("pending", "Pending", Tone.IDLE, "Not judged yet.")

# The states of receipts by receipt id. Receipts that it does not know are left out. It is called once for a
# page, with all of its receipts, and answers with a constant number of queries.
PaymentSource = Callable[[Sequence[Receipt]], Mapping[int, PaymentState]]

# Narrows receipts to those in a payment state, in SQL. The states are those of `payments`.
PaymentNarrowing = Callable[[ReceiptQuerySet, str], ReceiptQuerySet]

_sources: list[tuple[PaymentSource, PaymentNarrowing]] = []


def _all_are_pending(receipts: ReceiptQuerySet, state: str) -> ReceiptQuerySet:
    return receipts if state == NOT_JUDGED.state else receipts.none()


def register_payment(source: PaymentSource, narrowing: PaymentNarrowing = _all_are_pending) -> None:
    """Sets the source of payment verdicts. A second one takes the place of the first."""
    _sources[:] = [(source, narrowing)]


def payments(receipts: Sequence[Receipt]) -> dict[int, PaymentState]:
    """The payment state of each receipt, by receipt id."""
    known = _sources[0][0](receipts) if _sources and receipts else {}
    return {receipt.id: known.get(receipt.id, NOT_JUDGED) for receipt in receipts}


def with_payment_state(receipts: ReceiptQuerySet, state: str) -> ReceiptQuerySet:
    """The receipts in the state. While nobody judges receipts, all of them are pending."""
    narrowing = _sources[0][1] if _sources else _all_are_pending
    return narrowing(receipts, state)


@dataclass(frozen=True, slots=True)
class JudgedReceipt:
    """A verdict on a receipt with its fee. Of two on the same receipt, the one with the higher `version` holds."""

    receipt_id: int
    accepted_at: datetime
    state: State
    fee_usd: Decimal
    version: int


class PaymentFeed(Protocol):
    """The verdicts on receipts, for the copy of them that the search reads. Each of them is delivered at least once."""

    def take(self) -> list[JudgedReceipt] | None:
        """Some verdicts that were not delivered yet. None if all were.

        They count as delivered once the transaction commits. Nobody else gets them meanwhile.
        """

    def forget(self) -> None:
        """Counts all verdicts recorded so far as delivered, since each receipt will be read again, with `of`."""

    def waiting_since(self) -> datetime | None:
        """When the oldest verdict that was not delivered yet was recorded, or a moment before."""

    def of(self, receipts: Sequence[tuple[date, int]]) -> list[JudgedReceipt]:
        """The verdicts that hold for the receipts, each given by the UTC day of its `ts_end` and its id."""


_feeds: list[PaymentFeed] = []


def register_payment_feed(feed: PaymentFeed) -> None:
    """Sets the source of verdicts for the search. A second one takes the place of the first."""
    _feeds[:] = [feed]


def payment_feed() -> PaymentFeed | None:
    """The source of verdicts. None while nobody judges receipts, so that all of them are pending."""
    return _feeds[0] if _feeds else None


@dataclass(frozen=True)
class ReceiptFlag:
    """Something implausible about a receipt, and its numbers in a sentence."""

    label: str
    sentence: str


@dataclass(frozen=True)
class Plausibility:
    """What is implausible about a receipt, and what was found in order, as sentences with the numbers."""

    flags: Sequence[ReceiptFlag] = ()
    in_order: Sequence[str] = ()


# None for a receipt that is not judged yet.
PlausibilitySource = Callable[[Receipt], Plausibility | None]

_plausibility_sources: list[PlausibilitySource] = []


def register_plausibility(source: PlausibilitySource) -> None:
    """Sets the source of plausibility. A second one takes the place of the first."""
    _plausibility_sources[:] = [source]


def plausibility(receipt: Receipt) -> Plausibility | None:
    """How plausible the receipt is. None if it is not judged yet."""
    return _plausibility_sources[0](receipt) if _plausibility_sources else None


# Why a month of receipts is still needed, in words. Nothing if it may be dropped.
MonthNeed = Callable[[Month], Iterable[str]]

_needs: list[MonthNeed] = []


def register_need(need: MonthNeed) -> None:
    """Sets who is asked before a month is dropped. A second one takes the place of the first."""
    _needs[:] = [need]


def why_needed(month: Month) -> list[str]:
    """The reasons to keep a month that is old enough to be dropped."""
    return [reason for need in _needs for reason in need(month)]
