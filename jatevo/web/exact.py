"""Amounts as text with every digit, as the API, the exports and the statements write them."""

from decimal import Context, Decimal
from typing import Final

_ENOUGH: Final = Context(prec=100)


def exact(amount: Decimal) -> str:
    """'12.50', '0.000303125', '-3.00': no exponent, no idle zeros beyond cents, and never '-0.00'."""
    text = f"{amount.normalize(_ENOUGH):f}" if amount else "0"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}"


def exact_or_none(amount: Decimal | None) -> str | None:
    """The same. None, which is unknown, stays None."""
    return None if amount is None else exact(amount)
