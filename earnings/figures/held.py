"""What is held, and why."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Min, Sum

from earnings.figures.scope import Scope
from earnings.models import HeldItem


@dataclass(frozen=True)
class HeldCause:
    """The held receipts of one cause. `since` is when the first of them was held."""

    rule: str
    cause: str
    receipts: int
    fees_usd: Decimal
    since: datetime


def held_by_cause(scope: Scope) -> list[HeldCause]:
    """The causes for which receipts are held, largest amount first."""
    rows = HeldItem.objects.order_by()
    if scope.org_id is not None:
        rows = rows.filter(org_id=scope.org_id)
    if scope.node_id is not None:
        rows = rows.filter(node_id=scope.node_id)
    if scope.model is not None:
        rows = rows.filter(line__model=scope.model)
    if scope.line_id is not None:
        rows = rows.filter(line_id=scope.line_id)
    if scope.first is not None:
        rows = rows.filter(day__gte=scope.first)
    if scope.last is not None:
        rows = rows.filter(day__lte=scope.last)
    found = rows.values("rule", "cause").annotate(
        receipts=Count("receipt_id"), amount=Sum("fee_usd"), first=Min("since")
    )
    causes = [
        HeldCause(row["rule"], row["cause"], row["receipts"], row["amount"], row["first"]) for row in found
    ]
    return sorted(causes, key=lambda each: (-each.fees_usd, each.rule, each.cause))
