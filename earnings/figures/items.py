"""The receipts behind a figure. Their fees sum to it, to the last digit."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery, Sum

from earnings.figures.scope import Scope
from earnings.figures.sums import Sums, lines
from earnings.models import HeldItem, Item, Verdict, VerdictState


def items(scope: Scope, *, state: str = "", rule: str = "", cause: str = "") -> QuerySet[Any]:
    """The items of the scope, each with the `state`, `rule` and `cause` of its newest verdict.

    `state`, `rule` and `cause` narrow them.
    """
    # an item has its line's organisation, node, model and day
    own = scope.narrow(Item.objects.all(), node="node_id", model="model", day="day", line="line_id")
    if state == VerdictState.HELD:
        held = HeldItem.objects.filter(day=OuterRef("day"), receipt_id=OuterRef("receipt_id"))
        for name, wanted in (("rule", rule), ("cause", cause)):
            held = held.filter(**{name: wanted}) if wanted else held
        own = own.filter(Exists(held))
    elif state:
        # lines without any such receipt need not be opened
        own = own.filter(line__in=lines(scope).filter(**{f"{state}_receipts__gt": 0}).values("pk"))
    found = with_verdicts(own)
    for name, wanted in (("state", state), ("rule", rule), ("cause", cause)):
        if wanted:
            found = found.filter(**{name: wanted})
    return found


def with_verdicts(found: QuerySet[Any]) -> QuerySet[Any]:
    """The items with the `state`, `rule`, `cause` and `confirmed` of their newest verdict."""
    newest = Verdict.objects.filter(day=OuterRef("day"), receipt_id=OuterRef("receipt_id")).order_by("-id")
    return found.annotate(
        **{name: Subquery(newest.values(name)[:1]) for name in ("state", "rule", "cause", "confirmed")}
    )


def item_sums(found: QuerySet[Any]) -> Sums:
    """The sums of items that carry their verdicts. Reads every one of them."""
    # grouped, so that PostgreSQL looks each verdict up once and not once for every sum
    groups = (
        found.order_by()
        .values("state", "confirmed")
        .annotate(
            number=Count("receipt_id"),
            fees=Sum("fee_usd"),
            sum_input=Sum("tokens_input"),
            sum_output=Sum("tokens_output"),
        )
    )
    return Sums.of_all(_sums_of(row) for row in groups)


def _sums_of(row: dict[str, Any]) -> Sums:
    """The sums of items that share the state, and whether a gateway confirms them."""
    all_of_it = Sums(row["number"], int(row["sum_input"]), int(row["sum_output"]))
    number, fees = row["number"], row["fees"]
    match row["state"]:
        case VerdictState.PAYABLE:
            confirmed = fees if row["confirmed"] else Decimal(0)
            return replace(all_of_it, payable_receipts=number, payable_usd=fees, confirmed_usd=confirmed)
        case VerdictState.HELD:
            return replace(all_of_it, held_receipts=number, held_usd=fees)
        case VerdictState.EXCLUDED:
            return replace(all_of_it, excluded_receipts=number, excluded_usd=fees)
    return all_of_it  # without a verdict
