"""Sums over a selection of receipts, from PostgreSQL, for the page and the API."""

from dataclasses import dataclass

from django.db.models import Avg, Count, Q, Sum

from receipts.models import ReceiptQuerySet


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


def aggregate(receipts: ReceiptQuerySet) -> Aggregates:
    """Computes the sums with one query."""
    sums = receipts.order_by().aggregate(
        count=Count("*"),
        tokens_input=Sum("tokens_input"),
        tokens_output=Sum("tokens_output"),
        hits=Count("id", filter=Q(cache_hit=True)),
        failures=Count("id", filter=Q(failed=True)),
        p95_ms=Avg("p95_ms"),
    )
    count = sums["count"]
    return Aggregates(
        count=count,
        tokens_input=int(sums["tokens_input"] or 0),
        tokens_output=int(sums["tokens_output"] or 0),
        cache_hit_rate=round(sums["hits"] / count, 4) if count else None,
        failures=sums["failures"],
        p95_ms=None if sums["p95_ms"] is None else round(sums["p95_ms"], 1),
    )
