"""As of when earnings are known: accrual works behind acceptance, and figures say how far it has come."""

from datetime import datetime, timedelta
from decimal import Decimal

from earnings.accrual.run import judged_until as accrual_has_judged_until
from earnings.models import Rate
from jatevo.web.figures import Amount

# Accrual runs every ten seconds. Figures older than this are shown as stale.
STALE_AFTER = timedelta(minutes=10)

NO_RATE = "No rate has been set yet."
BEHIND = "Newer receipts have not been judged yet."


def judged_until(at: datetime) -> datetime:
    """The newest moment up to which every accepted receipt has been judged."""
    return accrual_has_judged_until(at=at)


def rates_are_set() -> bool:
    """Whether there is any rate. Without one, receipts wait and every amount is unknown."""
    return Rate.objects.exists()


class Amounts:
    """Makes exact sums into figures with their as-of time: known, stale, or unknown without a rate.

    `judged`, until when everything is judged, and `known`, whether there are rates, are read unless the caller has
    them.
    """

    def __init__(self, *, at: datetime, judged: datetime | None = None, known: bool | None = None) -> None:
        self.known = rates_are_set() if known is None else known
        self.as_of = (judged or judged_until(at)) if self.known else at
        self.stale = at - self.as_of > STALE_AFTER

    def of(self, value: Decimal | None, *, if_none: str = "") -> Amount:
        if not self.known:
            return Amount.of(None, as_of=self.as_of, if_none=NO_RATE)
        amount = Amount.of(value, as_of=self.as_of, if_none=if_none)
        return amount.aged(BEHIND) if self.stale else amount
