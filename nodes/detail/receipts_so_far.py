"""How many receipts of a node were accepted, as far back as is cheap to count."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache
from django.db.models import Count, Sum

from nodes.models import Node

WINDOW = timedelta(days=30)
MOST_COUNTED = 10_000
KEEP_SECONDS = 60


@dataclass(frozen=True)
class ReceiptsSoFar:
    """Sums over the receipts of WINDOW or, if `capped`, over the newest MOST_COUNTED of them."""

    receipts: int
    tokens_input: int
    tokens_output: int
    capped: bool
    as_of: datetime
    days: int = WINDOW.days


def receipts_so_far(node: Node, *, at: datetime) -> ReceiptsSoFar:
    """One bounded query, cached for a minute."""
    key = f"node-receipts-so-far:{node.pk}"
    known: ReceiptsSoFar | None = cache.get(key)
    if known is not None:
        return known
    # every receipt is younger than its node, so both bounds skip older partitions
    since = max(node.created_at, at - WINDOW)
    newest = node.receipts.filter(accepted_at__gte=since).order_by("-accepted_at", "-id")
    sums = (
        newest.values("tokens_input", "tokens_output")[: MOST_COUNTED + 1]
        .aggregate(count=Count("*"), tokens_in=Sum("tokens_input"), tokens_out=Sum("tokens_output"))
    )  # fmt: skip
    found = ReceiptsSoFar(
        receipts=min(sums["count"], MOST_COUNTED),
        tokens_input=sums["tokens_in"] or 0,
        tokens_output=sums["tokens_out"] or 0,
        capped=sums["count"] > MOST_COUNTED,
        as_of=at,
    )
    cache.set(key, found, timeout=KEEP_SECONDS)
    return found
