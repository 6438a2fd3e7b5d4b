"""What gateways said about the request of one receipt, as far as a reader may know it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jatevo.accounts.permissions import Permission, allowed
from receipts.models import Dispatch, DispatchConflict, DispatchWinner, Gateway, Receipt, ReceiptQuerySet

MOST_CONFLICTS = 10


@dataclass(frozen=True)
class Contradiction:
    """A gateway's contradiction, with what differs: the name, and both values as text."""

    gateway_id: str
    node_id: str  # '' for one about the winner
    times: int
    received_at: datetime
    differences: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Told:
    """`gateway_id` and `limits` are hidden from people to whom the node does not belong.

    `winner` is what was said about whose answer was used; `winner_id` is '' where the reader may not know that
    node. `conflicts` are for admins.
    """

    dispatch: Dispatch | None
    gateway_id: str
    limits: bool
    winner: DispatchWinner | None
    winner_id: str
    conflicts: Sequence[Contradiction]


def told_about(receipt: Receipt, *, others: ReceiptQuerySet, reader: object) -> Told:
    """What was said about the receipt's request. `others` are those of its other receipts that the reader sees."""
    dispatch = Dispatch.objects.filter(request_id=receipt.request_id, node_id=receipt.node_id).first()
    winner = DispatchWinner.objects.filter(request_id=receipt.request_id).first()
    owns = allowed(reader, Permission.VIEW_EARNINGS)  # an operator sees receipts of own nodes only
    all_nodes = allowed(reader, Permission.REVIEW_EARNINGS)
    known = winner is not None and (
        all_nodes or winner.node_id == receipt.node_id or others.filter(node_id=winner.node_id).exists()
    )
    return Told(
        dispatch=dispatch,
        gateway_id=dispatch.gateway_id if dispatch is not None and owns else "",
        limits=owns,
        winner=winner,
        winner_id=winner.node_id if winner is not None and known else "",
        conflicts=_conflicts(receipt.request_id) if all_nodes else [],
    )


def _conflicts(request_id: str) -> list[Contradiction]:
    """All contradictions about the request, the newest first."""
    # by gateway, because the index begins with it
    found = DispatchConflict.objects.filter(gateway__in=Gateway.objects.all(), request_id=request_id)
    return [
        Contradiction(each.gateway_id, each.node_id, each.times, each.received_at, _differences(each))
        for each in found[:MOST_CONFLICTS]
    ]


def _differences(conflict: DispatchConflict) -> list[tuple[str, str]]:
    now = {**conflict.now, "gateway": conflict.gateway_id}
    return [
        (name, f"{_text(conflict.before.get(name))} → {_text(said)}")
        for name, said in now.items()
        if conflict.before.get(name) != said
    ]


def _text(value: object) -> str:
    if value is None:
        return "not said"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
