"""From an exact amount to whole cents. Pure.

A payout is what a wallet is owed, with what was carried over from its last payout, rounded down to whole cents. The
rest is carried to the next one, so that no fraction is ever lost or paid twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from earnings.rules.pricing import exact_sum

CENT = Decimal("0.01")

# Whole cents lose digits on purpose; sums never do.
_CENTS = Context(prec=100, rounding=ROUND_FLOOR, traps=[InvalidOperation, Overflow, DivisionByZero])


@dataclass(frozen=True)
class PayoutSplit:
    """What is paid now and what is carried. `sum_usd + carried_in_usd == paid_usd + carried_out_usd`, exactly.

    `paid_usd` is whole cents and never negative. `carried_out_usd` is from 0 up to less than a cent. Where the amount due
    is negative, nothing is paid and all of it is carried.
    """

    sum_usd: Decimal
    carried_in_usd: Decimal
    paid_usd: Decimal
    carried_out_usd: Decimal


def split_payout(amounts: Iterable[Decimal], carried_in_usd: Decimal = Decimal(0)) -> PayoutSplit:
    """Splits the exact sum of amounts into whole cents to pay and the rest to carry."""
    total = exact_sum(amounts)
    due = exact_sum([total, carried_in_usd])
    paid = max(due, Decimal(0)).quantize(CENT, context=_CENTS)
    return PayoutSplit(total, carried_in_usd, paid, exact_sum([due, paid.copy_negate()]))
