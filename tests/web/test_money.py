"""How amounts are written."""

from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import timezone

from jatevo.web.figures import Amount
from jatevo.web.templatetags.money import exact_usd, jtvo, usd, usd_words


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "$0.00"),
        ("1234.56", "$1,234.56"),
        ("1234567.899", "$1,234,567.89"),
        ("9.9999999", "$9.99"),
        ("0.01", "$0.01"),
        ("0.000123", "$0.000123"),
        ("0.0051", "$0.0051"),
        ("0.005", "$0.005"),
        ("0.0000009", "under $0.000001"),
        ("-2.5", "\u2212$2.50"),
        ("-0.0000001", "\u2212$0.000001"),
        ("1E+3", "$1,000.00"),
        ("123456789012345678901234.0000000000000001", "$123,456,789,012,345,678,901,234.00"),
    ],
)
def test_an_amount_in_words(amount: str, words: str) -> None:
    assert usd_words(Decimal(amount)) == words


def test_an_unknown_amount_is_a_dash() -> None:
    assert usd_words(None) == "—"
    assert "—" in usd(None)
    assert "—" in jtvo(None)


def test_the_exact_amount_is_on_hover() -> None:
    exact = Decimal("123456789012345678901234.0000000000000001")
    assert exact_usd(exact) == "$123,456,789,012,345,678,901,234.0000000000000001"
    assert 'title="$0.0000009"' in usd(Decimal("0.0000009"))
    assert "title" not in usd(Decimal("12.50"))
    assert exact_usd(Decimal("-7.125")) == "\u2212$7.125"


def test_an_estimate_says_that_it_is_one() -> None:
    html = jtvo(Decimal("1250.129"))
    assert "1,250.12 JTVO est." in html and 'title="1,250.129 JTVO est."' in html


def test_a_card_of_an_unknown_amount_says_why() -> None:
    at = timezone.now()
    template = Template('{% load ui %}{% kpi_usd "Fees" amount %}')
    unknown = template.render(Context({"amount": Amount.of(None, as_of=at, if_none="No rate.")}))
    assert "No rate." in unknown and "$" not in unknown
    known = template.render(Context({"amount": Amount.of(Decimal("12.345"), as_of=at)}))
    assert "$12.34" in known and "12.345" in known
