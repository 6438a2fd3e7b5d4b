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
    rows = scope.narrow(
        HeldItem.objects.order_by(), node="node_id", model="line__model", day="day", line="line_id"
    )
    found = rows.values("rule", "cause").annotate(
        receipts=Count("receipt_id"), amount=Sum("fee_usd"), first=Min("since")
    )
    causes = [
        HeldCause(row["rule"], row["cause"], row["receipts"], row["amount"], row["first"]) for row in found
    ]
    return sorted(causes, key=lambda each: (-each.fees_usd, each.rule, each.cause))
