"""The receipts behind a figure. Their fees sum to it, to the last digit."""

from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from earnings.figures.scope import Scope
from earnings.figures.sums import Sums, lines
from earnings.models import Item, Verdict, VerdictState


def items(scope: Scope, *, state: str = "", rule: str = "", cause: str = "") -> QuerySet[Any]:
    """The items of the scope, each with the `state`, `rule` and `cause` of its newest verdict.

    `state`, `rule` and `cause` narrow them.
    """
    behind = lines(scope)
    if state:
        # lines without any such receipt need not be opened
        behind = behind.filter(**{f"{state}_receipts__gt": 0})
    found = with_verdicts(Item.objects.filter(line__in=behind.values("pk")))
    if scope.first is not None:  # skips partitions
        found = found.filter(day__gte=scope.first)
    if scope.last is not None:
        found = found.filter(day__lte=scope.last)
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

    def of(state: VerdictState) -> Q:
        return Q(state=state)

    payable, held, excluded = (of(state) for state in VerdictState)
    row = found.order_by().aggregate(
        sum_receipts=Count("receipt_id"),
        sum_tokens_input=Sum("tokens_input"),
        sum_tokens_output=Sum("tokens_output"),
        sum_payable_receipts=Count("receipt_id", filter=payable),
        sum_payable_usd=Sum(F("fee_usd"), filter=payable),
        sum_confirmed_usd=Sum(F("fee_usd"), filter=payable & Q(confirmed=True)),
        sum_held_receipts=Count("receipt_id", filter=held),
        sum_held_usd=Sum(F("fee_usd"), filter=held),
        sum_excluded_receipts=Count("receipt_id", filter=excluded),
        sum_excluded_usd=Sum(F("fee_usd"), filter=excluded),
    )
    return Sums.of({name.removeprefix("sum_"): value for name, value in row.items()})
