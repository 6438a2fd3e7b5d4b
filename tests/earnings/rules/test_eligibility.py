"""Eligibility: each rule passes and fails with its numbers and what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from earnings.rules.eligibility import (
    EligibilityFacts,
    EligibilityKey,
    EligibilityRule,
    eligibility,
    is_eligible,
)

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)
GOOD = EligibilityFacts(
    available_usd=Decimal("12.3456"),
    threshold_usd=Decimal("10.00"),
    wallet_confirmed=True,
    wallet_proposed=False,
    payouts_from=NOW - timedelta(days=1),
    open_findings=0,
    confirmed_findings=0,
    reputation=Decimal("81.50"),
    minimum_reputation=Decimal("50.00"),
    hold_days=0,
)


def answer(key: EligibilityKey, **changes: Any) -> EligibilityRule:
    return next(rule for rule in eligibility(replace(GOOD, **changes), at=NOW) if rule.rule is key)


def test_a_good_node_is_eligible_and_every_rule_answers_in_order() -> None:
    rules = eligibility(GOOD, at=NOW)
    assert [rule.rule for rule in rules] == list(EligibilityKey)
    assert is_eligible(rules)
    assert all(rule.what_to_do == "" and rule.rule.label for rule in rules)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (EligibilityKey.THRESHOLD, {"available_usd": Decimal("9.9999999")}),
        (EligibilityKey.WALLET, {"wallet_confirmed": False}),
        (EligibilityKey.WALLET_WAIT, {"payouts_from": NOW + timedelta(seconds=1)}),
        (EligibilityKey.FRAUD, {"open_findings": 1}),
        (EligibilityKey.FRAUD, {"confirmed_findings": 1}),
        (EligibilityKey.REPUTATION, {"reputation": Decimal("49.99")}),
        (EligibilityKey.REPUTATION, {"reputation": None}),
        (EligibilityKey.HOLD_DAYS, {"available_usd": Decimal(0), "hold_days": 7, "waiting_usd": Decimal(50)}),
    ],
)
def test_any_failed_rule_ends_eligibility_and_says_what_to_do(
    key: EligibilityKey, changes: dict[str, Any]
) -> None:
    rules = eligibility(replace(GOOD, **changes), at=NOW)
    assert not is_eligible(rules)
    failed = next(rule for rule in rules if rule.rule is key)
    assert not failed.ok
    assert failed.what_to_do


@pytest.mark.parametrize(
    ("available", "threshold", "ok", "detail"),
    [
        ("3.20", "10", False, "$3.20 of $10.00; $6.80 to go."),
        ("9.9999999", "10", False, "$9.99 of $10.00; $0.000001 to go."),
        ("10", "10", True, "$10.00 of $10.00."),
        ("1234.567", "10", True, "$1,234.56 of $10.00."),
        ("0", "10", False, "$0.00 of $10.00; $10.00 to go."),
        ("0.0012345678", "10", False, "$0.001234 of $10.00; $10.00 to go."),
        ("0", "0", False, "$0.00 of $0.01; $0.01 to go."),
        ("0.01", "0", True, "$0.01 of $0.01."),
    ],
)
def test_the_threshold_never_reads_as_reached_when_it_is_not(
    available: str, threshold: str, ok: bool, detail: str
) -> None:
    rule = answer(
        EligibilityKey.THRESHOLD, available_usd=Decimal(available), threshold_usd=Decimal(threshold)
    )
    assert (rule.ok, rule.detail) == (ok, detail)


def test_a_node_that_owes_is_told_so() -> None:
    rule = answer(EligibilityKey.THRESHOLD, available_usd=Decimal("-3.201"))
    assert not rule.ok
    assert rule.detail.startswith("-$3.21: more was paid than earned")


def test_wallets() -> None:
    assert answer(EligibilityKey.WALLET, wallet_confirmed=False).detail == "There is no wallet to pay to."
    proposed = answer(EligibilityKey.WALLET, wallet_confirmed=False, wallet_proposed=True)
    assert proposed.detail == "The agent proposed a wallet, and nobody has confirmed it."
    waiting = answer(EligibilityKey.WALLET_WAIT, payouts_from=NOW + timedelta(hours=5, seconds=1))
    assert waiting.detail == "Payouts to this wallet begin at 3 Jun 2026, 17:00:01 UTC, in 5 hours."
    assert answer(EligibilityKey.WALLET_WAIT, payouts_from=NOW).ok
    unconfirmed = answer(EligibilityKey.WALLET_WAIT, wallet_confirmed=False)
    assert not unconfirmed.ok  # the 72 hours of a former wallet do not count


def test_an_unknown_reputation_is_not_called_low() -> None:
    assert answer(EligibilityKey.REPUTATION, reputation=None).detail == (
        "The node's reputation is not known yet."
    )
    assert answer(EligibilityKey.REPUTATION, reputation=Decimal("41.20")).detail == (
        "R 41.2; at least 50 is needed."
    )
    assert answer(EligibilityKey.REPUTATION, reputation=Decimal("50")).ok


def test_findings_of_fraud() -> None:
    assert (
        answer(EligibilityKey.FRAUD, open_findings=1).detail == "A finding of fraud about this node is open."
    )
    assert (
        answer(EligibilityKey.FRAUD, open_findings=2).detail
        == "2 findings of fraud about this node are open."
    )
    confirmed = answer(EligibilityKey.FRAUD, open_findings=1, confirmed_findings=1)
    assert confirmed.detail == "An admin confirmed a finding of fraud about this node."


def test_the_holding_period_holds_back_only_its_own_amounts() -> None:
    rule = answer(
        EligibilityKey.HOLD_DAYS,
        hold_days=7,
        waiting_usd=Decimal("4.5"),
        waiting_until=NOW + timedelta(days=2),
    )
    assert rule.ok  # the rest can be paid
    assert rule.detail == (
        "$4.50 is still in the holding period of 7 days after it became final, the first of it until"
        " 5 Jun 2026, 12:00:00 UTC."
    )


def test_nothing_in_the_holding_period_is_no_reason_to_wait() -> None:
    rule = answer(EligibilityKey.HOLD_DAYS, available_usd=Decimal(0), hold_days=7)
    assert (rule.ok, rule.detail) == (True, "The holding period of 7 days is over for every final amount.")
    assert answer(EligibilityKey.HOLD_DAYS).detail == "Amounts are paid as soon as they are final."
