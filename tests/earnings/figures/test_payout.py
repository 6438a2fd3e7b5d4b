"""The next payout by the policy in force."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from earnings.figures.balances import Balances
from earnings.figures.payout import next_payout_of
from earnings.models import Policy

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)


def test_what_is_missing_to_the_threshold() -> None:
    found = next_payout_of(Balances(accrued=Decimal("9.999")), at=AT)
    assert (found.at, found.threshold_usd) == (datetime(2026, 4, 1, tzinfo=UTC), 10)
    assert found.missing_usd == Decimal("0.001") and not found.reached and found.share == 99
    assert next_payout_of(Balances(accrued=Decimal(10)), at=AT).reached
    assert next_payout_of(Balances(accrued=Decimal(-3)), at=AT).missing_usd == 13


def test_a_policy_holds_from_its_date() -> None:
    Policy.objects.create(
        holds_from=datetime(2026, 3, 11, tzinfo=UTC), created_by="test", schedule="weekly", schedule_day=4,
        threshold_usd=Decimal(0),
    )  # fmt: skip
    assert next_payout_of(Balances(), at=AT).at == datetime(2026, 4, 1, tzinfo=UTC)
    later = next_payout_of(Balances(), at=datetime(2026, 3, 11, tzinfo=UTC))
    assert later.at == datetime(2026, 3, 13, tzinfo=UTC)
    assert later.reached and later.share == 100 and "Friday" in later.schedule
