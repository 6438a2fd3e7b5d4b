"""Payouts in whole cents: nothing is lost, nothing is paid twice."""

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from earnings.rules.rounding import CENT, split_payout

AMOUNTS = st.decimals(-(10**9), 10**15, places=12)
CARRIED = st.decimals(0, Decimal("0.009999999999"), places=12)


@given(st.lists(AMOUNTS, max_size=20), CARRIED)
def test_what_is_paid_and_what_is_carried_add_up_exactly(amounts: list[Decimal], carried_in: Decimal) -> None:
    split = split_payout(amounts, carried_in)
    due = sum((Fraction(amount) for amount in amounts), Fraction(carried_in))
    assert Fraction(split.paid_usd) + Fraction(split.carried_out_usd) == due
    assert Fraction(split.sum_usd) + Fraction(split.carried_in_usd) == due
    assert split.paid_usd >= 0
    assert Fraction(split.paid_usd) * 100 == int(Fraction(split.paid_usd) * 100)
    if due >= 0:
        assert 0 <= split.carried_out_usd < CENT
    else:
        assert split.paid_usd == 0


@given(st.lists(st.lists(st.decimals(0, 10, places=12), max_size=5), max_size=8))
def test_over_many_payouts_at_most_a_cent_is_outstanding(payouts: list[list[Decimal]]) -> None:
    carried, paid, earned = Decimal(0), Fraction(0), Fraction(0)
    for amounts in payouts:
        split = split_payout(amounts, carried)
        carried = split.carried_out_usd
        paid += Fraction(split.paid_usd)
        earned += sum((Fraction(amount) for amount in amounts), Fraction(0))
    assert earned - paid == Fraction(carried)
    assert 0 <= carried < CENT


def test_a_split_in_numbers_whatever_pythons_precision() -> None:
    with localcontext() as context:
        context.prec = 4
        split = split_payout([Decimal("1234567.897654321"), Decimal("0.000345679")], Decimal("0.005"))
    assert split.paid_usd == Decimal("1234567.90")
    assert split.carried_out_usd == Decimal("0.003")


def test_a_debt_is_never_paid_out() -> None:
    split = split_payout([Decimal("5"), Decimal("-7.5")], Decimal("0.004"))
    assert (split.paid_usd, split.carried_out_usd) == (0, Decimal("-2.496"))
