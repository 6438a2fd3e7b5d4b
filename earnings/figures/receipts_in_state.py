"""Receipts by their payment state, as a condition in SQL: what the search of receipts filters by."""

from datetime import UTC
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, Exists, F, Func, OuterRef, QuerySet, Subquery
from django.db.models.functions import TruncDate

from earnings.models import HeldItem, Item, Verdict, VerdictState
from receipts.models import ReceiptQuerySet, UnjudgedReceipt

PENDING = "pending"
FEW = 5_000


def receipts_in_state(receipts: ReceiptQuerySet, state: str) -> ReceiptQuerySet:
    """The receipts whose newest verdict has the state, or that have no verdict yet (`pending`)."""
    if state == PENDING:
        waiting = UnjudgedReceipt.objects.order_by()
        return _listed(receipts, ids=waiting.values("id"), times=waiting.values("accepted_at"))
    if state == VerdictState.HELD:
        held = HeldItem.objects.order_by()
        of_item = held.filter(day=OuterRef("day"), receipt_id=OuterRef("receipt_id"))
        times = Item.objects.order_by().filter(Exists(of_item)).values("accepted_at")
        return _listed(receipts, ids=held.values("receipt_id"), times=times)
    dated = receipts.alias(day=TruncDate("ts_end", tzinfo=UTC))
    verdicts = Verdict.objects.filter(day=OuterRef("day"), receipt_id=OuterRef("id"))
    return dated.filter(NewestIs(verdicts.order_by("-id").values("state")[:1], state=VerdictState(state)))


def _listed(receipts: ReceiptQuerySet, *, ids: QuerySet[Any], times: QuerySet[Any]) -> ReceiptQuerySet:
    """The receipts that a table lists. If these are few, their times of acceptance lead to them.

    If they are many, a page of them is soon found among the newest. PostgreSQL does not know which is the case,
    since it keeps no statistics of a partitioned table as a whole.
    """
    if ids[FEW:].exists():
        return receipts.filter(id__in=ids)
    return receipts.filter(
        IsAmong(F("accepted_at"), ArraySubquery(times)), IsAmong(F("id"), ArraySubquery(ids))
    )


class IsAmong(Func):
    """Whether a column's value is in the array, in a form for which PostgreSQL uses the column's index."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()


class NewestIs(Subquery):
    """Whether the subquery's one row has this state.

    PostgreSQL takes it to hold for every second row, and so looks through receipts newest first until it has a page.
    A comparison with the subquery's value it takes to hold for hardly any row, and looks at all of them.
    """

    template = "EXISTS (SELECT FROM (%(subquery)s) newest WHERE newest.state = '%(state)s')"
    output_field = BooleanField()
