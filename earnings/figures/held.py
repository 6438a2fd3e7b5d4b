"""What is held, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Sum

from earnings.figures.scope import Scope
from earnings.models import HeldItem, HeldTotal


@dataclass(frozen=True)
class HeldCause:
    """The held receipts of one cause."""

    rule: str
    cause: str
    receipts: int
    fees_usd: Decimal


def held_by_cause(scope: Scope) -> list[HeldCause]:
    """The causes for which receipts are held, largest amount first."""
    causes = [HeldCause(*row) for row in _counted(scope)]
    causes = [each for each in causes if each.receipts]
    return sorted(causes, key=lambda each: (-each.fees_usd, each.rule, each.cause))


def _counted(scope: Scope) -> Iterable[tuple[Any, ...]]:
    """Rows of rule, cause, receipts and amount, from the totals where these have the scope."""
    if scope.node_id is None and scope.model is None and scope.line_id is None:
        totals = scope.narrow(HeldTotal.objects.order_by(), day="day")
        return totals.values_list("rule", "cause").annotate(number=Sum("receipts"), amount=Sum("fees_usd"))
    rows = scope.narrow(
        HeldItem.objects.order_by(), node="node_id", model="line__model", day="day", line="line_id"
    )
    return rows.values_list("rule", "cause").annotate(number=Count("receipt_id"), amount=Sum("fee_usd"))
