"""Disputes: receipts of one request from several organisations, of which no dispatch says whose is paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Min, Q, QuerySet, Sum

from earnings.accrual import decide, require_payable
from earnings.accrual.locking import wait_for_lock
from earnings.models import HeldItem, Item, VerdictState
from earnings.rules.verdicts import Cause
from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from receipts.models import Receipt


class DisputeOver(Exception):
    """The request has no such receipt that is held. Somebody else may have decided."""


@dataclass(frozen=True)
class Side:
    """What one receipt says of the request. `output_hash` and `finish` are '' where it does not state them."""

    item: Item
    output_hash: str
    finish: str
    has_receipt: bool


@dataclass(frozen=True)
class Dispute:
    """A request and the receipts that claim it."""

    request_id: str
    sides: tuple[Side, ...]


def disputed() -> QuerySet[HeldItem]:
    return HeldItem.objects.filter(cause=Cause.DISPUTED).order_by()


def dispute_rows() -> QuerySet[Any, Any]:
    """One row for each disputed request, the largest amount first."""
    return (
        disputed()
        .values("request_id")
        .annotate(fees=Sum("fee_usd"), receipts=Count("*"), first=Min("since"))
        .order_by("-fees", "request_id")
    )


def count_disputes(*, most: int) -> int:
    """How many requests are disputed. It stops counting beyond `most` and gives one more."""
    some = disputed().values("request_id").distinct().order_by("request_id")[: most + 1]
    return len(some)


def with_sides(request_ids: Sequence[str]) -> list[Dispute]:
    """The disputes about these requests, with what each side says."""
    held = list(disputed().filter(request_id__in=request_ids))
    wanted = Q(pk__in=[])
    for each in held:
        wanted |= Q(day=each.day, receipt_id=each.receipt_id)
    items = list(Item.objects.filter(wanted).select_related("node", "org").order_by("receipt_id"))
    receipts = Receipt.objects.filter(
        id__in=[each.receipt_id for each in items], accepted_at__in=[each.accepted_at for each in items]
    )
    said = {each.id: each.payload for each in receipts}
    sides: dict[str, list[Side]] = {}
    for item in items:
        payload = said.get(item.receipt_id)
        sides.setdefault(item.request_id, []).append(
            Side(
                item=item,
                output_hash=str((payload or {}).get("output_hash") or ""),
                finish=str((payload or {}).get("finish") or ""),
                has_receipt=payload is not None,
            )
        )
    return [Dispute(each, tuple(sides[each])) for each in request_ids if each in sides]


def settle(*, request_id: str, winner: int | None, by: User, reason: str, at: datetime) -> int:
    """Pays one of the receipts that claim a request, and none of the others; with None, none at all.

    Returns how many were decided. Raises DisputeOver, and NotPossible without a reason or if a finding of fraud covers
    the side that would be paid.
    """
    with transaction.atomic():
        wait_for_lock()  # of two admins at once, the slower one is told
        sides = disputed().filter(request_id=request_id)
        winning = sides.filter(pk=winner) if winner is not None else sides.none()
        paid = winning.first()
        if not sides.exists() or (winner is not None and paid is None):
            raise DisputeOver("This dispute has been decided meanwhile.")
        if paid is None:
            return decide(sides, state=VerdictState.EXCLUDED, by=by, reason=reason, at=at)
        losing = list(sides.exclude(pk=paid.pk))
        decided = decide(winning, state=VerdictState.PAYABLE, by=by, reason=reason, at=at)
        require_payable(day=paid.day, receipt_id=paid.receipt_id)
        # The rules exclude the others, since one is paid. Their owners are told why, as if a person had done it.
        still_held = disputed().filter(pk__in=[each.pk for each in losing])
        left = set(still_held.values_list("pk", flat=True))
        if left:
            decided += decide(still_held, state=VerdictState.EXCLUDED, by=by, reason=reason, at=at)
        for each in losing:
            if each.pk not in left:
                record(
                    "earnings.exclude",
                    by=actor_of(by),
                    subject_kind="node",
                    subject_id=each.node_id,
                    org_id=each.org_id,
                    reason=reason.strip(),
                    receipts=1,
                    rules=[each.rule],
                    first=request_id,
                )
                decided += 1
    return decided
