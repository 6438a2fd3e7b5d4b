"""What a receipt is worth: the rate in force at its end, and the fee to the last digit. Pure.

A fee is exact: tokens times a price with at most 6 decimals, less a discount with at most 4, per million tokens. That is
at most 16 decimals. Nothing is rounded before a payout.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

DEFAULT_MODEL = ""  # the model of the rates that hold where a model has none of its own
DEAREST_USD = Decimal(10_000)  # per million tokens; more is a slip of the pen
MOST_JTVO = Decimal(1_000_000_000)  # per USD
RATE_DECIMALS = 6
DISCOUNT_DECIMALS = 4
JTVO_DECIMALS = 8

# Digits enough for any tokens that a receipt can state (2**53 - 1). Losing one raises `Inexact`.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
_PER_TOKENS = Decimal("0.000001")  # prices are per million


@dataclass(frozen=True)
class TokenRate:
    """What a model's tokens cost from `holds_from` on, until the next rate of the model holds.

    Prices in USD per million tokens. `cache_hit_discount` is the part of the input price (0 to 1) that a cache hit saves.
    """

    rate_id: int
    model: str  # in the form in which models are compared; DEFAULT_MODEL for all others
    input_usd: Decimal
    output_usd: Decimal
    cache_hit_discount: Decimal
    holds_from: datetime


def fee_usd(tokens_input: int, tokens_output: int, cache_hit: bool, rate: TokenRate) -> Decimal:
    """The fee of one receipt in USD, exact. Raises `decimal.Inexact` rather than lose a digit."""
    x = _EXACT
    price = rate.input_usd
    if cache_hit:
        price = x.multiply(price, x.subtract(Decimal(1), rate.cache_hit_discount))
    of_input = x.multiply(Decimal(tokens_input), price)
    of_output = x.multiply(Decimal(tokens_output), rate.output_usd)
    return x.multiply(x.add(of_input, of_output), _PER_TOKENS)


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of amounts, exact. Python's own `sum` rounds to 28 digits. Raises `decimal.Inexact` likewise."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def rate_at(rates: Iterable[TokenRate], model: str, at: datetime) -> TokenRate | None:
    """The rate in force for a model at a moment: its own newest, else the newest default. None if there is neither.

    `model` is in the form in which models are compared.
    """
    in_force = [rate for rate in rates if rate.holds_from <= at and rate.model in (model, DEFAULT_MODEL)]
    return max(in_force, key=lambda rate: (rate.model == model, rate.holds_from), default=None)


def price_problem(usd_per_million: Decimal) -> str | None:
    """What is wrong with a price per million tokens, for the person who enters it. None if nothing is."""
    if not usd_per_million.is_finite():
        return "Enter a number."
    if usd_per_million < 0:
        return "A price cannot be negative."
    if usd_per_million > DEAREST_USD:
        return f"A price is at most ${DEAREST_USD:,} per million tokens. Check that it is not per thousand or per token."
    return _decimals_problem(usd_per_million, RATE_DECIMALS)


def discount_problem(discount: Decimal) -> str | None:
    """What is wrong with a cache-hit discount. None if nothing is."""
    if not discount.is_finite():
        return "Enter a number."
    if not 0 <= discount <= 1:
        return "A discount is a share from 0 to 1: enter 0.5 for half the input price."
    return _decimals_problem(discount, DISCOUNT_DECIMALS)


def jtvo_problem(jtvo_per_usd: Decimal) -> str | None:
    """What is wrong with an estimate of JTVO per USD. None if nothing is."""
    if not jtvo_per_usd.is_finite():
        return "Enter a number."
    if jtvo_per_usd <= 0:
        return "The rate must be greater than 0."
    if jtvo_per_usd > MOST_JTVO:
        return f"The rate is at most {MOST_JTVO:,} JTVO per USD."
    return _decimals_problem(jtvo_per_usd, JTVO_DECIMALS)


def _decimals_problem(number: Decimal, most: int) -> str | None:
    _, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits))
    zeros = len(text) - len(text.rstrip("0"))
    if number != 0 and isinstance(exponent, int) and -exponent - zeros > most:
        return f"Enter at most {most} decimals."
    return None
