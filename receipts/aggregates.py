"""Sums over a selection of receipts, for the API."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Count, Q, Sum

from jatevo.metrics.patience import patiently
from jatevo.metrics.transport import MetricsError
from receipts.filters import ReceiptFilter
from receipts.models import ReceiptQuerySet
from receipts.search.as_of import completeness
from receipts.search.conditions import MatchesNothing, conditions_of
from receipts.search.totals import read_sums

# A script can wait longer than a page. PostgreSQL would take longer still, or give up.
WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Aggregates:
    """`cache_hit_rate` is from 0 to 1, `p95_ms` the mean of the receipts' p95.

    Both are None without receipts.
    """

    count: int
    tokens_input: int
    tokens_output: int
    cache_hit_rate: float | None
    failures: int
    p95_ms: float | None


@dataclass(frozen=True)
class _Sums:
    count: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    hits: int = 0
    failures: int = 0
    p95_ms: float = 0.0

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.count + other.count,
            self.tokens_input + other.tokens_input,
            self.tokens_output + other.tokens_output,
            self.hits + other.hits,
            self.failures + other.failures,
            self.p95_ms + other.p95_ms,
        )

    @property
    def aggregates(self) -> Aggregates:
        return Aggregates(
            count=self.count,
            tokens_input=self.tokens_input,
            tokens_output=self.tokens_output,
            cache_hit_rate=round(self.hits / self.count, 4) if self.count else None,
            failures=self.failures,
            p95_ms=round(self.p95_ms / self.count, 1) if self.count else None,
        )


def aggregates_of(search: ReceiptFilter, user: object, *, at: datetime) -> Aggregates:
    """The sums of what the person sees of a valid search, as of now.

    ClickHouse adds up what is settled, PostgreSQL the last seconds. If ClickHouse does not have all of it, or does not
    answer, PostgreSQL adds up everything.
    """
    given = search.form.cleaned_data
    complete = completeness(
        at=at,
        since=given["from"].start if given["from"] else None,
        until=given["to"].end if given["to"] else None,
    )
    if complete.gap is not None or not complete.origin:
        return aggregate(search.qs)
    newer = search.qs.filter(accepted_at__gte=complete.as_of)
    try:
        conditions = conditions_of(search, user)
        settled = patiently(lambda: read_sums(conditions, complete), WAIT_SECONDS)
    except MatchesNothing:
        return _sums(newer).aggregates
    except MetricsError:
        return aggregate(search.qs)
    known = _Sums(
        settled.receipts,
        settled.tokens_input,
        settled.tokens_output,
        settled.cache_hits,
        settled.failures,
        settled.p95_ms_sum,
    )
    return (known + _sums(newer)).aggregates


def aggregate(receipts: ReceiptQuerySet) -> Aggregates:
    """The sums from PostgreSQL, with one query."""
    return _sums(receipts).aggregates


def _sums(receipts: ReceiptQuerySet) -> _Sums:
    sums = receipts.order_by().aggregate(
        count=Count("*"),
        tokens_input=Sum("tokens_input"),
        tokens_output=Sum("tokens_output"),
        hits=Count("id", filter=Q(cache_hit=True)),
        failures=Count("id", filter=Q(failed=True)),
        p95_ms=Sum("p95_ms"),
    )
    return _Sums(
        sums["count"],
        int(sums["tokens_input"] or 0),
        int(sums["tokens_output"] or 0),
        sums["hits"],
        sums["failures"],
        sums["p95_ms"] or 0.0,
    )
