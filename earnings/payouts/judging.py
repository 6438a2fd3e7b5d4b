"""The rules applied to candidates: whether a node may be paid, and whether a second admin must agree."""

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

from earnings.models import Policy
from earnings.payouts.candidates import Candidate
from earnings.rules.eligibility import EligibilityFacts, EligibilityKey, EligibilityRule, eligibility
from earnings.rules.pricing import exact_sum
from earnings.rules.rounding import CENT
from earnings.rules.second_person import SecondPerson, SecondPersonPolicy, second_person

# What an admin may override with a reason. Nobody overrides fraud or pays to a wallet that is in doubt.
OVERRIDABLE: Final = frozenset({EligibilityKey.THRESHOLD, EligibilityKey.REPUTATION})


def rules_of(
    candidate: Candidate, *, amount_usd: Decimal, policy: Policy, at: datetime
) -> tuple[EligibilityRule, ...]:
    """Every rule's answer for paying this amount now, in the order in which they are shown."""
    facts = EligibilityFacts(
        available_usd=amount_usd,
        threshold_usd=policy.threshold_usd,
        wallet_confirmed=candidate.wallet_id is not None,
        wallet_proposed=candidate.wallet_proposed,
        payouts_from=candidate.payouts_from,
        open_findings=candidate.open_findings,
        confirmed_findings=candidate.confirmed_findings,
        reputation=candidate.reputation,
        minimum_reputation=policy.minimum_reputation,
        hold_days=policy.hold_days,
        waiting_usd=candidate.waiting_usd,
        waiting_until=candidate.waiting_until,
    )
    return tuple(eligibility(facts, at=at))


def may_override(rule: EligibilityRule, amount_usd: Decimal) -> bool:
    """Whether an admin may pay although this rule fails. There must be something to pay."""
    return rule.rule in OVERRIDABLE and amount_usd >= CENT


def second_admin(
    *,
    amount_usd: Decimal,
    wallet_usd: Decimal,
    unconfirmed_usd: Decimal,
    overridden: Collection[EligibilityKey],
    policy: Policy,
    admins: int,
) -> SecondPerson:
    """Whether a second admin must confirm, and why. `wallet_usd` is what the address gets with all open payouts."""
    return second_person(
        amount_usd=amount_usd,
        wallet_usd=wallet_usd,
        unconfirmed_usd=unconfirmed_usd,
        overridden=[rule.label for rule in overridden],
        policy=SecondPersonPolicy(
            policy.confirm_from_usd, policy.confirm_unconfirmed, policy.confirm_overrides
        ),
        admins=admins,
    )


def wallet_totals(found: Iterable[tuple[Candidate, Decimal]]) -> dict[tuple[str, str], Decimal]:
    """What each address (with its chain) would get from all of these amounts."""
    totals: dict[tuple[str, str], Decimal] = {}
    for candidate, amount_usd in found:
        address = candidate.chain, candidate.address
        totals[address] = exact_sum([totals.get(address, Decimal(0)), amount_usd])
    return totals
