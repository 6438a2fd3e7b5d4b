"""How durations, counts and amounts read in the sentences that the rules show to people. Pure."""

from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

_DIGITS = Context(prec=200, rounding=ROUND_HALF_EVEN)
_CENT = Decimal("0.01")
_MICRO = Decimal("0.000001")


def duration(seconds: int) -> str:
    """Two units at most, rounded down: 45 seconds, 22 minutes, 3 hours 5 minutes, 2 days 4 hours."""
    for size, name, smaller, smaller_name in (
        (86_400, "day", 3_600, "hour"),
        (3_600, "hour", 60, "minute"),
        (60, "minute", 1, "second"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            whole = count(seconds // size, name)
            return f"{whole} {count(rest, smaller_name)}" if rest else whole
    return count(seconds, "second")


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 token, 1,200 tokens."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def dollars(amount: Decimal) -> str:
    """An amount for a sentence: whole cents, rounded down; six decimals where it is smaller than a cent.

    Rounded down, so that an amount that falls short of a limit never reads as if it reached it.
    """
    return _dollars(amount, ROUND_FLOOR)


def dollars_to_go(amount: Decimal) -> str:
    """What is missing of an amount: like `dollars`, but rounded up."""
    return _dollars(amount, ROUND_CEILING)


def moment(at: datetime) -> str:
    """A moment in UTC, to the second: 3 Jun 2026, 14:05:09 UTC."""
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def _dollars(amount: Decimal, rounding: str) -> str:
    sign = "-" if amount < 0 else ""
    unit = _CENT if amount == 0 or amount.copy_abs() >= _CENT else _MICRO
    shown = amount.quantize(unit, rounding=rounding, context=_DIGITS)
    if shown == 0 and amount > 0:
        return f"less than ${_MICRO}"
    return f"{sign}${shown.copy_abs():,}"
