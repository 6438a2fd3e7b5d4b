"""Amounts for people: $1,234.56, and below a cent $0.000123. The exact amount is in the title.

Amounts are rounded down, so that one that falls short of a threshold never reads as if it reached it.
"""

from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache

from django.utils.html import format_html
from django.utils.safestring import SafeString

from jatevo.web.templatetags.numbers import UNKNOWN

_CENT, _LEAST = Decimal("0.01"), Decimal("0.000001")
_ENOUGH = Context(prec=100)
_MINUS = "\u2212"
# A page shows hundreds of amounts, many of them zero, and polls for the same ones.
_KEPT = 4096


@lru_cache(maxsize=_KEPT)
def usd_words(amount: Decimal | None) -> str:
    """'$1,234.56', '$0.000123', '-$2.50', 'under $0.000001'; '—' for None."""
    if amount is None:
        return UNKNOWN
    if 0 < amount < _LEAST:
        return "under $0.000001"
    small = 0 < amount.copy_abs() < _CENT
    rounded = amount.quantize(_LEAST if small else _CENT, rounding=ROUND_FLOOR, context=_ENOUGH)
    text = f"{rounded.copy_abs():,f}"
    if small:
        whole, _, part = text.partition(".")
        text = f"{whole}.{part.rstrip('0').ljust(2, '0')}"
    return f"{_MINUS}${text}" if rounded < 0 else f"${text}"


def exact_usd(amount: Decimal) -> str:
    """'$1,234.5678901', every digit."""
    text = f"{amount.copy_abs().normalize(_ENOUGH):,f}"
    whole, _, part = text.partition(".")
    return f"{_MINUS if amount < 0 else ''}${whole}.{part.ljust(2, '0')}"


@lru_cache(maxsize=_KEPT)
def usd(amount: Decimal | None) -> SafeString:
    """`{{ line.payable_usd|usd }}`: the amount, with the exact one on hover where it has more digits."""
    if amount is None:
        return format_html('<span class="text-muted">{}</span>', UNKNOWN)
    shown, exact = usd_words(amount), exact_usd(amount)
    if shown == exact:
        return format_html('<span class="whitespace-nowrap">{}</span>', shown)
    return format_html('<span class="whitespace-nowrap" title="{}">{}</span>', exact, shown)


@lru_cache(maxsize=_KEPT)
def jtvo(value: Decimal | None, form: str = "") -> SafeString:
    """`{{ estimate.value|jtvo }}`: '1,234.56 JTVO est.', with every digit on hover; `|jtvo:"bare"` is the number alone."""
    if value is None:
        return format_html('<span class="text-muted">{}</span>', UNKNOWN)
    exact = f"{value.normalize(_ENOUGH):,f}"
    small = 0 < value.copy_abs() < _CENT
    rounded = value.quantize(_LEAST if small else _CENT, rounding=ROUND_FLOOR, context=_ENOUGH)
    shown = f"{rounded:,f}" if form == "bare" else f"{rounded:,f} JTVO est."
    return format_html('<span class="whitespace-nowrap" title="{} JTVO est.">{}</span>', exact, shown)
