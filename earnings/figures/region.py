"""What a node of the same region typically earns, without telling what any one organisation does."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from statistics import median
from typing import Any

from django.core.cache import cache
from django.db.models import Sum

from earnings.figures.sums import EXACT
from earnings.models import Line
from nodes.models import Node
from nodes.rules.lifecycle import Status

FEWEST_ORGS = 5
DAYS = 7
KEEP_SECONDS = 600
_TWO_DIGITS = Context(prec=2, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class RegionMedian:
    """Fees of the last DAYS whole days up to `last`, in US dollars with two significant digits.

    Of each other organisation its median node counts, so that no big one decides. None from fewer than
    FEWEST_ORGS of them.
    """

    region: str
    fees_usd: Decimal | None
    first: date
    last: date


def region_median(region: str, *, without_org: Any, at: datetime) -> RegionMedian:
    """The median over the active nodes of other organisations in the region. Cached for ten minutes."""
    last = at.astimezone(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=DAYS - 1)
    key = f"earnings-region-orgs:{region}:{last}"
    typical: dict[Any, Decimal] | None = cache.get(key)
    if typical is None:
        typical = _typical(region, first, last)
        cache.set(key, typical, timeout=KEEP_SECONDS)
    others = [fees for org_id, fees in typical.items() if org_id != without_org]
    found = _TWO_DIGITS.plus(_middle(others)) if len(others) >= FEWEST_ORGS else None
    return RegionMedian(region, found, first, last)


def _typical(region: str, first: date, last: date) -> dict[Any, Decimal]:
    """The fees of the median node of each organisation in the region."""
    orgs: dict[Any, dict[str, Decimal]] = defaultdict(dict)
    nodes = Node.objects.filter(region=region, status=Status.ACTIVE)
    for node_id, org_id in nodes.values_list("pk", "org_id"):
        orgs[org_id][node_id] = Decimal(0)
    fees = (
        Line.objects.filter(day__range=(first, last), node__region=region, node__status=Status.ACTIVE)
        .order_by()
        .values_list("org_id", "node_id")
        .annotate(fees=Sum("payable_usd"))
    )
    for org_id, node_id, of_node in fees:
        if node_id in orgs.get(org_id, {}):
            orgs[org_id][node_id] = of_node
    return {org_id: _middle(list(of_org.values())) for org_id, of_org in orgs.items()}


def _middle(amounts: list[Decimal]) -> Decimal:
    # the mean of two middle ones may need a digit more than the fees have
    return EXACT.plus(median(amounts))
