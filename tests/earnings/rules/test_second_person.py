"""When a second admin confirms, and what the record says where there is none."""

from decimal import Decimal
from typing import Any

import pytest

from earnings.rules.second_person import (
    SecondPerson,
    SecondPersonPolicy,
    SecondReason,
    confirmation_problem,
    second_person,
)

STRICT = SecondPersonPolicy(Decimal(1000), confirm_unconfirmed=True, confirm_overrides=True)
LAX = SecondPersonPolicy(None, confirm_unconfirmed=False, confirm_overrides=False)


def asked(policy: SecondPersonPolicy = STRICT, *, admins: int = 2, **changes: Any) -> SecondPerson:
    facts: dict[str, Any] = {"amount_usd": Decimal(50), "unconfirmed_usd": Decimal(0), "overridden": []}
    return second_person(policy=policy, admins=admins, **facts | changes)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        ({"amount_usd": Decimal("999.99")}, []),
        ({"amount_usd": Decimal("1000")}, [SecondReason.AMOUNT]),
        ({"unconfirmed_usd": Decimal("0.0000001")}, [SecondReason.UNCONFIRMED]),
        ({"overridden": ["Minimum reputation"]}, [SecondReason.OVERRIDE]),
        (
            {"amount_usd": Decimal(2000), "unconfirmed_usd": Decimal(1), "overridden": ["a", "b"]},
            list(SecondReason),
        ),
    ],
)
def test_the_policy_says_when_a_second_admin_confirms(
    changes: dict[str, Any], reasons: list[SecondReason]
) -> None:
    found = asked(**changes)
    assert (found.needed, list(found.reasons), found.note) == (bool(reasons), reasons, "")
    assert len(found.why) == len(reasons)
    assert not asked(LAX, **changes).needed


def test_a_lone_admin_goes_on_and_the_record_says_what_nobody_confirmed() -> None:
    found = asked(admins=1, amount_usd=Decimal(1200), unconfirmed_usd=Decimal("300"))
    assert not found.needed
    assert found.note == (
        "Confirmed by nobody else: there is one admin. The amount is $1,200.00; from $1,000.00 on, a second admin"
        " confirms. No gateway confirmed $300.00 of $1,200.00."
    )
    assert asked(admins=1).note == ""  # nothing that anybody should have confirmed


def test_overridden_rules_are_named() -> None:
    assert asked(overridden=["Minimum reputation", "Payout threshold"]).why == (
        "2 failed rules are overridden: Minimum reputation, Payout threshold.",
    )


def test_nobody_confirms_what_they_marked_themselves() -> None:
    assert confirmation_problem(marked_by="ada@example.com", confirmed_by="ada@example.com")
    assert confirmation_problem(marked_by="ada@example.com", confirmed_by="bob@example.com") is None
