"""The next payout: when, from how much on, and what is missing. And what one day counts as."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, Context, Decimal

from earnings.figures.balances import Balances
from earnings.figures.sums import EXACT
from earnings.models import Policy
from earnings.rules.rounding import CENT
from earnings.rules.schedule import PayoutInterval, Schedule, next_payout

EXACT_ENOUGH = Context(prec=100)


@dataclass(frozen=True)
class NextPayout:
    """`missing_usd` is what the available amount lacks of the threshold, 0 if nothing."""

    at: datetime
    schedule: str
    threshold_usd: Decimal
    available_usd: Decimal
    missing_usd: Decimal
    hold_days: int

    @property
    def day(self) -> date:
        """The UTC day of the payout."""
        return self.at.date()

    @property
    def missing_to_show(self) -> Decimal:
        """What is missing, rounded up, so that it never reads as less than it is."""
        return self.missing_usd.quantize(CENT, rounding=ROUND_CEILING, context=EXACT_ENOUGH)

    @property
    def reached(self) -> bool:
        return not self.missing_usd

    @property
    def share(self) -> int:
        """How much of the threshold is reached, in whole per cent from 0 to 100, rounded down."""
        if not self.threshold_usd or self.reached:
            return 100
        return max(0, int(self.available_usd * 100 // self.threshold_usd))


def policy_at(at: datetime) -> Policy:
    """The policy in force. The first one comes with the database."""
    return Policy.objects.filter(holds_from__lte=at).order_by("-holds_from")[0]


def next_payout_of(balance: Balances, *, at: datetime, policy: Policy | None = None) -> NextPayout:
    """The next payout of what these balances belong to, by the policy in force, which is read unless given."""
    policy = policy or policy_at(at)
    schedule = Schedule(PayoutInterval(policy.schedule), policy.schedule_day)
    missing = EXACT.subtract(policy.threshold_usd, balance.available)
    return NextPayout(
        at=next_payout(schedule, at),
        schedule=str(schedule),
        threshold_usd=policy.threshold_usd,
        available_usd=balance.available,
        missing_usd=max(missing, Decimal(0)),
        hold_days=policy.hold_days,
    )
