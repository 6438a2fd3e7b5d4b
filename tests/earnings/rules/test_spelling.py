"""How durations and amounts read."""

from decimal import Decimal

import pytest

from earnings.rules.spelling import count, dollars, dollars_to_go, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "1 minute 1 second"),
        (1320, "22 minutes"),
        (3600, "1 hour"),
        (3659, "1 hour"),
        (11_100, "3 hours 5 minutes"),
        (86_399, "23 hours 59 minutes"),
        (86_400, "1 day"),
        (187_200, "2 days 4 hours"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_count_agrees_with_its_noun() -> None:
    assert [count(number, "token") for number in (0, 1, 2, 1200)] == [
        "0 tokens",
        "1 token",
        "2 tokens",
        "1,200 tokens",
    ]


@pytest.mark.parametrize(
    ("amount", "shown", "to_go"),
    [
        ("0", "$0.00", "$0.00"),
        ("9.999", "$9.99", "$10.00"),
        ("0.01", "$0.01", "$0.01"),
        ("0.0099999999", "$0.009999", "$0.010000"),
        ("0.0000001", "less than $0.000001", "$0.000001"),
        ("-3.201", "-$3.21", "-$3.20"),
        ("123456789012345678901234567890123.456", "$123,456,789,012,345,678,901,234,567,890,123.45", None),
    ],
)
def test_an_amount_is_never_shown_as_more_than_it_is(amount: str, shown: str, to_go: str | None) -> None:
    assert dollars(Decimal(amount)) == shown
    if to_go is not None:
        assert dollars_to_go(Decimal(amount)) == to_go
