"""The estimate in JTVO: each day's fees at the rate in force at its 00:00 UTC. Unknown without a rate."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from earnings.figures.sums import EXACT, Sums
from earnings.models import JtvoRate


@dataclass(frozen=True)
class JtvoEstimate:
    """`value` is None if no day with fees has a rate. `days_without` counts days whose fees it leaves out.

    `rates` are those that it used, newest first.
    """

    value: Decimal | None
    days_without: int = 0
    rates: tuple[JtvoRate, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it covers every day."""
        return self.value is not None and not self.days_without


class JtvoRates:
    """All rates, read once."""

    def __init__(self, rates: Iterable[JtvoRate] | None = None) -> None:
        known = JtvoRate.objects.all() if rates is None else rates
        self._rates = sorted(known, key=lambda rate: rate.holds_from)
        self._from = [rate.holds_from for rate in self._rates]

    def of(self, day: date) -> JtvoRate | None:
        """The rate in force at 00:00 UTC of the day."""
        return self.at(datetime.combine(day, time.min, tzinfo=UTC))

    def at(self, moment: datetime) -> JtvoRate | None:
        """The rate in force at the moment."""
        place = bisect_right(self._from, moment)
        return self._rates[place - 1] if place else None

    def estimate(self, days: Mapping[date, Sums]) -> JtvoEstimate:
        """The estimate of several days' fees. Days without fees need no rate."""
        value, without = Decimal(0), 0
        used: dict[int, JtvoRate] = {}
        for day, of_day in days.items():
            rate = self.of(day)
            if rate is not None:
                value = EXACT.add(value, EXACT.multiply(of_day.fees_usd, rate.jtvo_per_usd))
                used[rate.pk] = rate
            elif of_day.fees_usd:
                without += 1
        newest_first = tuple(sorted(used.values(), key=lambda rate: rate.holds_from, reverse=True))
        if without and not used:
            return JtvoEstimate(None, without)
        if not days and not self._rates:
            return JtvoEstimate(None)
        return JtvoEstimate(value, without, newest_first)
