"""Formats numbers for people. An unknown number is —, never 0."""

from decimal import Decimal
from math import isfinite

UNKNOWN = "—"
Number = int | float | Decimal


def written(value: Number, digits: int = 0) -> str:
    """The number with that many decimals. -0.04 with one is 0.0, not -0.0.

    Anything but a number is unknown.
    """
    if not isfinite(value):
        return UNKNOWN
    text = f"{value:,.{digits}f}"
    return text if text.strip("-0.,") else text.lstrip("-")


def count(value: Number | None) -> str:
    """`{{ n|count }}`: 12,345."""
    return decimals(value, 0)


def decimals(value: Number | None, digits: int = 0) -> str:
    """`{{ x|decimals:2 }}`: 1,234.50."""
    return UNKNOWN if value is None or value == "" else written(value, digits)


def percent(share: Number | None, digits: int = 1) -> str:
    """`{{ rate|percent }}`: a share of 1 as 42.0 %; `{{ rate|percent:2 }}` as 42.00 %."""
    return UNKNOWN if share is None or share == "" else _with_unit(written(share * 100, digits), "%")


def milliseconds(value: Number | None) -> str:
    """`{{ p95_ms|milliseconds }}`: 310 ms; below 10 with one decimal."""
    if value is None or value == "":
        return UNKNOWN
    return _with_unit(written(value, 1 if abs(float(value)) < 10 else 0), "ms")


def short(value: Number | None) -> str:
    """`{{ n|short }}`: at most four characters or so for an axis or a cell: 310, 1.2k, 15k, 3.4M."""
    if value is None or value == "" or not isfinite(value):
        return UNKNOWN
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            scaled = float(value) / limit
            return f"{scaled:.1f}{unit}".replace(".0", "") if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return written(value)


def _with_unit(text: str, unit: str) -> str:
    return text if text == UNKNOWN else f"{text} {unit}"
