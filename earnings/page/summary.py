"""The figures at the top of the page: of the chosen days, of now, and of the month that runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from earnings.figures.as_of import Amounts
from earnings.figures.balances import Balances, balances
from earnings.figures.held import HeldCause, held_by_cause
from earnings.figures.jtvo import JtvoEstimate, JtvoRates
from earnings.figures.payout import NextPayout, next_payout_of
from earnings.figures.periods import Period, month_so_far
from earnings.figures.scope import Scope
from earnings.figures.sums import Sums, fees
from earnings.figures.verdicts import cause_label
from earnings.models import JtvoRate
from earnings.page.shared import SharedReads
from jatevo.web.figures import Amount


@dataclass(frozen=True)
class HeldLine:
    """Why something is held, in words, with the parameters that open its receipts."""

    label: str
    rule: str
    cause: str
    receipts: int
    fees_usd: Decimal


@dataclass(frozen=True)
class Jtvo:
    """The estimate of the chosen days, and the rate in force now with its source and date."""

    estimate: JtvoEstimate
    amount: Amount
    rate: JtvoRate | None


@dataclass(frozen=True)
class Summary:
    """`fees`, `unconfirmed`, `held` and `excluded` are of the chosen days; `to_date` and the balances are not."""

    sums: Sums
    fees: Amount
    unconfirmed: Amount
    held: Amount
    excluded: Amount
    to_date: Amount
    available: Amount
    ready: Amount
    paid_out: Amount
    carried_usd: Decimal
    held_lines: Sequence[HeldLine]
    jtvo: Jtvo | None
    next_payout: NextPayout
    month: Period
    known: bool
    as_of: datetime
    stale: bool


def summary_of(scope: Scope, read: SharedReads) -> Summary:
    """The figures of the scope. A constant number of queries."""
    at, rates = read.at, read.jtvo_rates
    amounts = Amounts(at=at, judged=read.judged, known=read.known)
    by_day = {day: of_day for day, of_day in read.days.items() if scope.has_day(day)}
    chosen = Sums.of_all(by_day.values())
    # the balances of the earners, where the page reads them anyway, add up to the scope's
    balance = balances(scope) if read.balances is None else Balances.of_all(read.balances.values())
    return Summary(
        sums=chosen,
        fees=amounts.of(chosen.fees_usd),
        unconfirmed=amounts.of(chosen.unconfirmed_usd),
        held=amounts.of(chosen.held_usd),
        excluded=amounts.of(chosen.excluded_usd),
        to_date=amounts.of(fees(scope.within(None, None))),
        available=amounts.of(balance.available),
        ready=amounts.of(balance.ready),
        paid_out=amounts.of(balance.exported),
        carried_usd=balance.carried,
        held_lines=[_line(each) for each in held_by_cause(scope)],
        jtvo=_jtvo(rates, rates.estimate(by_day), amounts, at) if read.with_jtvo else None,
        next_payout=next_payout_of(balance, at=at, policy=read.policy),
        month=month_so_far(scope, at=at, rates=rates if read.with_jtvo else JtvoRates([]), of_days=read.days),
        known=amounts.known,
        as_of=amounts.as_of,
        stale=amounts.stale,
    )


def _line(held: HeldCause) -> HeldLine:
    return HeldLine(cause_label(held.rule, held.cause), held.rule, held.cause, held.receipts, held.fees_usd)


def _jtvo(rates: JtvoRates, estimate: JtvoEstimate, amounts: Amounts, at: datetime) -> Jtvo:
    return Jtvo(estimate, amounts.of(estimate.value, if_none="No JTVO rate for these days."), rates.at(at))
