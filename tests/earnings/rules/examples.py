"""A receipt that every rule passes, from which each test departs in one thing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from earnings.rules.facts import Decision, Dispatch, ItemFacts, RequestFacts, Winner
from earnings.rules.verdicts import VerdictState

ENDED = datetime(2026, 6, 3, 14, 5, 9, tzinfo=UTC)
NOW = ENDED + timedelta(hours=1)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


_GOOD = ItemFacts(
    receipt_id=1,
    node_id="node-1",
    org_id=1,
    request_id="req-1",
    accepted_at=ENDED + seconds(2),
    model="llama3.1-8b",
    ts_start=ENDED - seconds(4),
    ts_end=ENDED,
    tokens_input=200,
    tokens_output=100,
    node_since=ENDED - timedelta(days=30),
    key_since=ENDED - timedelta(days=30),
    in_service=True,
    concurrency=4,
    limit_output_per_second=Decimal("1000.00"),
    limit_context=2_000_000,
    require_dispatch=False,
    offered=True,
)


def item(receipt_id: int = 1, node_id: str | None = None, **changes: Any) -> ItemFacts:
    """A good receipt. Each id is another node's, of one organisation unless told otherwise."""
    return replace(_GOOD, receipt_id=receipt_id, node_id=node_id or f"node-{receipt_id}", **changes)


def dispatch(node_id: str = "node-1", **changes: Any) -> Dispatch:
    """A gateway's word that agrees with the good receipt."""
    return replace(
        Dispatch(node_id, _GOOD.model, _GOOD.ts_start, _GOOD.ts_start + seconds(1), False, 200, 500),
        **changes,
    )


def winner(node_id: str, *, received_at: datetime = ENDED) -> Winner:
    return Winner(node_id, received_at)


def released(actor: str = "ada@jatevo.example") -> Decision:
    return Decision(VerdictState.PAYABLE, actor, "The operator's provider confirmed the outage.")


def excluded(actor: str = "ada@jatevo.example") -> Decision:
    return Decision(VerdictState.EXCLUDED, actor, "Made up.", "implausible", "speed")


def alone(one: ItemFacts, *dispatches: Dispatch, **more: Any) -> RequestFacts:
    return RequestFacts([one], dispatches, **more)
