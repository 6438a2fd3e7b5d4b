"""When a second admin must confirm that an amount is marked ready, and what a lone admin's record says. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from earnings.rules.spelling import dollars

# For how long a payout that no second admin confirmed counts toward the amount from which one is needed.
ALONE_DAYS: Final = 30


class SecondReason(StrEnum):
    """Why a second admin is asked for."""

    AMOUNT = "amount"
    UNCONFIRMED = "unconfirmed"
    OVERRIDE = "override"


@dataclass(frozen=True)
class SecondPersonPolicy:
    """When the network asks for a second admin. `confirm_from_usd` None: never because of the amount."""

    confirm_from_usd: Decimal | None
    confirm_unconfirmed: bool
    confirm_overrides: bool


@dataclass(frozen=True)
class SecondPerson:
    """Whether a second admin must confirm, and why: `reasons` and, as sentences, `why`.

    `note` goes on the record where the policy asks for a second admin and there is none; otherwise it is empty.
    """

    needed: bool
    reasons: Sequence[SecondReason]
    why: Sequence[str]
    note: str


def second_person(
    *,
    amount_usd: Decimal,
    unconfirmed_usd: Decimal,
    overridden: Sequence[str],
    policy: SecondPersonPolicy,
    admins: int,
    wallet_usd: Decimal = Decimal(0),
) -> SecondPerson:
    """Whether marking an amount ready needs a second admin.

    `unconfirmed_usd` is the part that no gateway confirmed, `overridden` has labels of the failed rules that the first
    admin overrides, and `admins` counts the admins who can act, the first included. `wallet_usd` is what the wallet gets
    with all open payouts and what one admin alone paid to it in the last `ALONE_DAYS`, so that an amount split over
    nodes or over exports counts as what it is.
    """
    found: dict[SecondReason, str] = {}
    if policy.confirm_from_usd is not None and amount_usd >= policy.confirm_from_usd:
        found[SecondReason.AMOUNT] = (
            f"The amount is {dollars(amount_usd)}; from {dollars(policy.confirm_from_usd)} on, a second admin confirms."
        )
    elif policy.confirm_from_usd is not None and wallet_usd >= policy.confirm_from_usd:
        found[SecondReason.AMOUNT] = (
            f"Open payouts to its wallet, with those of the last {ALONE_DAYS} days that no second admin confirmed,"
            f" come to {dollars(wallet_usd)}; from {dollars(policy.confirm_from_usd)} on, a second admin confirms."
        )
    if policy.confirm_unconfirmed and unconfirmed_usd > 0:
        found[SecondReason.UNCONFIRMED] = (
            f"No gateway confirmed {dollars(unconfirmed_usd)} of {dollars(amount_usd)}."
        )
    if policy.confirm_overrides and overridden:
        rules = "A failed rule is" if len(overridden) == 1 else f"{len(overridden)} failed rules are"
        found[SecondReason.OVERRIDE] = f"{rules} overridden: {', '.join(overridden)}."
    lone = admins < 2
    note = ""
    if found and lone:
        note = " ".join(["Confirmed by nobody else: there is one admin.", *found.values()])
    return SecondPerson(bool(found) and not lone, tuple(found), tuple(found.values()), note)


def confirmation_problem(*, marked_by: str, confirmed_by: str) -> str | None:
    """Why a person may not confirm what another marked ready. None if they may."""
    if confirmed_by == marked_by:
        return "You marked it ready yourself. Another admin must confirm it."
    return None
