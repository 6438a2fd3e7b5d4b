"""Fees to the last digit, the rate in force, and prices that are refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnings.rules.pricing import (
    DEAREST_USD,
    TokenRate,
    discount_problem,
    exact_sum,
    fee_usd,
    jtvo_problem,
    price_problem,
    rate_at,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST_TOKENS = 2**53 - 1
TOKENS = st.integers(0, MOST_TOKENS)
PRICES = st.decimals(0, DEAREST_USD, places=6)
DISCOUNTS = st.decimals(0, 1, places=4)


def rate(
    input_usd: str = "0.05", output_usd: str = "0.2", discount: str = "0.5", *, model: str = "", day: int = 0
) -> TokenRate:
    return TokenRate(
        day, model, Decimal(input_usd), Decimal(output_usd), Decimal(discount), START + timedelta(days=day)
    )


def test_a_fee_in_numbers() -> None:
    assert fee_usd(1000, 500, False, rate()) == Decimal("0.00015")
    assert fee_usd(1000, 500, True, rate()) == Decimal("0.000125")
    assert fee_usd(0, 0, False, rate()) == 0


@given(TOKENS, TOKENS, st.booleans(), PRICES, PRICES, DISCOUNTS)
def test_a_fee_equals_the_fraction(
    tokens_input: int, tokens_output: int, hit: bool, price_in: Decimal, price_out: Decimal, discount: Decimal
) -> None:
    fee = fee_usd(tokens_input, tokens_output, hit, TokenRate(1, "", price_in, price_out, discount, START))
    share = 1 - Fraction(discount) if hit else Fraction(1)
    exact = (tokens_input * Fraction(price_in) * share + tokens_output * Fraction(price_out)) / 10**6
    assert Fraction(fee) == exact


def test_the_extremes_lose_nothing_even_where_python_would_round() -> None:
    extreme = rate("9999.999999", "9999.999999", "0.9999")
    with localcontext() as context:
        context.prec = 5
        fee = fee_usd(MOST_TOKENS, MOST_TOKENS, True, extreme)
    price = Fraction(9_999_999_999, 10**6)
    assert Fraction(fee) == MOST_TOKENS * (price / 10_000 + price) / 10**6
    assert len(fee.as_tuple().digits) > 28  # more than Python's own arithmetic keeps


@given(st.lists(st.decimals(-(10**20), 10**20, places=6), max_size=30))
def test_sums_are_exact(amounts: list[Decimal]) -> None:
    assert Fraction(exact_sum(amounts)) == sum((Fraction(amount) for amount in amounts), Fraction(0))


def test_the_rate_in_force_is_the_models_newest_else_the_default() -> None:
    rates = [rate(day=0), rate(day=5), rate(model="qwen3", day=2), rate(model="qwen3", day=4)]

    def found(model: str, days: float) -> int | None:
        in_force = rate_at(rates, model, START + timedelta(days=days))
        return in_force.rate_id if in_force else None

    assert found("qwen3", 1) == 0  # no rate of its own yet
    assert found("qwen3", 2) == 2  # from its very moment on
    assert found("qwen3", 3.99) == 2
    assert found("qwen3", 9) == 4  # not the newer default
    assert found("gemma", 4.99) == 0
    assert found("gemma", 5) == 5
    assert found("gemma", -0.01) is None


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        ("0", None),
        ("0.050000", None),
        ("0.0500000000", None),  # idle zeros are no decimals
        ("10000", None),
        ("1E+3", None),
        ("10000.000001", "A price is at most $10,000 per million tokens"),
        ("-0.01", "A price cannot be negative."),
        ("0.0000001", "Enter at most 6 decimals."),
        ("NaN", "Enter a number."),
        ("sNaN", "Enter a number."),
        ("Infinity", "Enter a number."),
        ("-Infinity", "Enter a number."),
    ],
)
def test_absurd_prices_are_refused_with_a_reason(price: str, problem: str | None) -> None:
    found = price_problem(Decimal(price))
    assert found is None if problem is None else found is not None and found.startswith(problem)


@pytest.mark.parametrize(
    ("discount", "fine"),
    [
        ("0", True),
        ("1", True),
        ("0.2500", True),
        ("1.0001", False),
        ("-0.1", False),
        ("0.00001", False),
        ("NaN", False),
    ],
)
def test_a_discount_is_a_share(discount: str, fine: bool) -> None:
    assert (discount_problem(Decimal(discount)) is None) is fine


@pytest.mark.parametrize(
    ("jtvo", "fine"),
    [
        ("0.00000001", True),
        ("12.5", True),
        ("1000000000", True),
        ("1000000001", False),
        ("0", False),
        ("-1", False),
        ("0.000000001", False),
        ("Infinity", False),
    ],
)
def test_an_estimate_is_greater_than_zero(jtvo: str, fine: bool) -> None:
    assert (jtvo_problem(Decimal(jtvo)) is None) is fine
