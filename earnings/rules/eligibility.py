"""Whether a node can be paid out now: each rule with its numbers, and what to do where it fails. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from earnings.rules.own_merits import plain, rfc3339
from earnings.rules.pricing import exact_sum
from earnings.rules.rounding import CENT
from earnings.rules.spelling import count, dollars, dollars_to_go, duration, moment
from earnings.rules.verdicts import Numbers

WALLET_WAITS = timedelta(hours=72)  # between confirming a wallet and the first payout to it

_SECOND = timedelta(seconds=1)


class EligibilityKey(StrEnum):
    """The rules in the order in which they are shown."""

    THRESHOLD = "threshold"
    WALLET = "wallet"
    WALLET_WAIT = "wallet_wait"
    FRAUD = "fraud"
    REPUTATION = "reputation"
    HOLD_DAYS = "hold_days"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    EligibilityKey.THRESHOLD: "Payout threshold",
    EligibilityKey.WALLET: "Confirmed wallet",
    EligibilityKey.WALLET_WAIT: "72 hours since the wallet was confirmed",
    EligibilityKey.FRAUD: "No finding of fraud",
    EligibilityKey.REPUTATION: "Minimum reputation",
    EligibilityKey.HOLD_DAYS: "Holding period",
}


@dataclass(frozen=True)
class EligibilityFacts:
    """What the rules need to know about a node.

    `available_usd` is final, neither held nor marked ready, and past its holding period; negative if the node owes.
    `waiting_usd` is final but still in its holding period, whose first part ends at `waiting_until`. `payouts_from`
    is when payouts to the wallet may begin. `reputation` is from 0 to 100, None while it is unknown.
    """

    available_usd: Decimal
    threshold_usd: Decimal
    wallet_confirmed: bool
    wallet_proposed: bool
    payouts_from: datetime | None
    open_findings: int
    confirmed_findings: int
    reputation: Decimal | None
    minimum_reputation: Decimal
    hold_days: int
    waiting_usd: Decimal = Decimal(0)
    waiting_until: datetime | None = None


@dataclass(frozen=True)
class EligibilityRule:
    """One rule's answer. `what_to_do` is empty where there is nothing to do."""

    rule: EligibilityKey
    ok: bool
    detail: str
    what_to_do: str
    numbers: Numbers


def eligibility(facts: EligibilityFacts, *, at: datetime) -> list[EligibilityRule]:
    """Every rule's answer, in order. A node can be marked ready if all are ok."""
    return [
        _threshold(facts),
        _wallet(facts),
        _wallet_wait(facts, at),
        _fraud(facts),
        _reputation(facts),
        _hold_days(facts, at),
    ]


def is_eligible(rules: list[EligibilityRule]) -> bool:
    return all(rule.ok for rule in rules)


def _threshold(facts: EligibilityFacts) -> EligibilityRule:
    available = facts.available_usd
    threshold = max(facts.threshold_usd, CENT)  # less than a cent is never paid
    ok = available >= threshold
    if available < 0:
        detail = (
            f"{dollars(available)}: more was paid than earned, because receipts were excluded after a payout."
            " What the node earns next covers it first."
        )
    elif ok:
        detail = f"{dollars(available)} of {dollars(threshold)}."
    else:
        missing = exact_sum([threshold, available.copy_negate()])
        detail = f"{dollars(available)} of {dollars(threshold)}; {dollars_to_go(missing)} to go."
    return EligibilityRule(
        EligibilityKey.THRESHOLD,
        ok,
        detail,
        "" if ok else "Keep serving requests. The amount is kept until it reaches the threshold.",
        {"available_usd": plain(available), "threshold_usd": plain(threshold)},
    )


def _wallet(facts: EligibilityFacts) -> EligibilityRule:
    if facts.wallet_confirmed:
        detail, to_do = "A wallet is confirmed.", ""
    elif facts.wallet_proposed:
        detail = "The agent proposed a wallet, and nobody has confirmed it."
        to_do = "Check the address on the Wallet page and confirm it."
    else:
        detail, to_do = "There is no wallet to pay to.", "Add one on the Wallet page."
    return EligibilityRule(
        EligibilityKey.WALLET,
        facts.wallet_confirmed,
        detail,
        to_do,
        {"confirmed": facts.wallet_confirmed, "proposed": facts.wallet_proposed},
    )


def _wallet_wait(facts: EligibilityFacts, at: datetime) -> EligibilityRule:
    payouts_from = facts.payouts_from if facts.wallet_confirmed else None
    ok = payouts_from is not None and at >= payouts_from
    if payouts_from is None:
        detail = "The 72 hours begin when a wallet is confirmed."
        to_do = "Confirm a wallet first."
    elif ok:
        detail, to_do = f"Payouts to this wallet are allowed since {moment(payouts_from)}.", ""
    else:
        left = -(-(payouts_from - at) // _SECOND)
        detail = f"Payouts to this wallet begin at {moment(payouts_from)}, in {duration(left)}."
        to_do = "Wait. If you did not make this change yourself, stop it on the Wallet page."
    return EligibilityRule(
        EligibilityKey.WALLET_WAIT,
        ok,
        detail,
        to_do,
        {"payouts_from": rfc3339(payouts_from) if payouts_from else None},
    )


def _fraud(facts: EligibilityFacts) -> EligibilityRule:
    ok = not facts.open_findings and not facts.confirmed_findings
    if facts.confirmed_findings:
        detail = "An admin confirmed a finding of fraud about this node."
        to_do = "Contact an admin if you believe that this is wrong."
    elif facts.open_findings:
        findings = "A finding" if facts.open_findings == 1 else count(facts.open_findings, "finding")
        verb = "is" if facts.open_findings == 1 else "are"
        detail = f"{findings} of fraud about this node {verb} open."
        to_do = "Contact an admin. Payouts continue once it is cleared."
    else:
        detail, to_do = "No finding of fraud concerns this node.", ""
    return EligibilityRule(
        EligibilityKey.FRAUD,
        ok,
        detail,
        to_do,
        {"open": facts.open_findings, "confirmed": facts.confirmed_findings},
    )


def _reputation(facts: EligibilityFacts) -> EligibilityRule:
    reputation, minimum = facts.reputation, facts.minimum_reputation
    ok = reputation is not None and reputation >= minimum
    if reputation is None:
        detail = "The node's reputation is not known yet."
        to_do = "Wait. Reputations are computed every five minutes, from a node's first heartbeat on."
    elif ok:
        detail, to_do = f"R {plain(reputation)}; at least {plain(minimum)} is needed.", ""
    else:
        detail = f"R {plain(reputation)}; at least {plain(minimum)} is needed."
        to_do = "See on the node's Reputation tab which points were lost, and when they expire."
    return EligibilityRule(
        EligibilityKey.REPUTATION,
        ok,
        detail,
        to_do,
        {
            "reputation": plain(reputation) if reputation is not None else None,
            "minimum": plain(minimum),
        },
    )


def _hold_days(facts: EligibilityFacts, at: datetime) -> EligibilityRule:
    """Fails only while everything that the node has is still held back: the rest can be paid without it."""
    waiting = facts.waiting_usd > 0
    ok = not waiting or facts.available_usd > 0
    until = facts.waiting_until
    days = count(facts.hold_days, "day")
    if not facts.hold_days:
        detail = "Amounts are paid as soon as they are final."
    elif waiting:
        ends = f", the first of it until {moment(until)}" if until else ""
        detail = f"{dollars(facts.waiting_usd)} is still in the holding period of {days} after it became final{ends}."
    else:
        detail = f"The holding period of {days} is over for every final amount."
    return EligibilityRule(
        EligibilityKey.HOLD_DAYS,
        ok,
        detail,
        "" if ok else "Wait until the holding period is over.",
        {
            "hold_days": facts.hold_days,
            "waiting_usd": plain(facts.waiting_usd),
            "waiting_until": rfc3339(until) if until else None,
        },
    )
