"""What the data show about a node that earns nothing, for the rules that name the causes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Q

from earnings.figures.items import items
from earnings.figures.scope import Scope
from earnings.figures.sums import sums
from earnings.rules.causes_of_nothing import NothingCause, NothingFacts, VerdictCount, causes_of_nothing
from earnings.rules.verdicts import VerdictState
from nodes.detail.metrics_tab import excused_of
from nodes.detail.tabs import explanation_of
from nodes.models import Node
from nodes.rules.heartbeat_regularity import hours_of_window, regularity
from receipts.models import Dispatch, Gateway

DAYS = 7


def why_nothing(node: Node, scope: Scope, *, at: datetime) -> Sequence[NothingCause]:
    """The causes of the last days, in order. Empty if there are none."""
    today = at.astimezone(UTC).date()
    recent = scope.of_node(node.pk).within(today - timedelta(days=DAYS - 1), today)
    found = sums(recent)
    counted = (
        items(recent).order_by().values("state", "cause").annotate(receipts=Count("receipt_id"))
        if found.receipts
        else ()
    )
    explanation = explanation_of(node, at=at)
    since = at - timedelta(days=1)
    # a probe that counts for nothing is no cause
    counted_probes = node.probes.filter(received_at__gte=since).exclude(counts_as="")
    probes = counted_probes.aggregate(
        failed=Count("id", filter=Q(ok=False)), passed=Count("id", filter=Q(ok=True))
    )
    facts = NothingFacts(
        phase=node.lifecycle_state.phase.value,
        explanation=explanation.what,
        next_step=explanation.next,
        heard_share=_heard_share(node, at),
        failed_probes=probes["failed"],
        passed_probes=probes["passed"],
        models=len(node.models_offered) if node.models_offered or node.last_heartbeat_at else None,
        dispatched=_dispatched(node, at),
        verdicts=[
            VerdictCount(VerdictState(row["state"]), row["cause"], row["receipts"])
            for row in counted
            if row["state"]
        ],
        payable_usd=found.payable_usd,
        days=DAYS,
        reachable=node.reachable,
    )
    return causes_of_nothing(facts)


def _heard_share(node: Node, at: datetime) -> float | None:
    first, last = hours_of_window(at)
    hours = dict(node.hours.filter(hour__gte=first, hour__lte=last).values_list("hour", "heard"))
    excused = excused_of(node, at=at)
    return regularity(hours, {}, first_heard_at=node.first_heard_at, at=at, excused=excused).share


def _dispatched(node: Node, at: datetime) -> int | None:
    """How many requests gateways sent to the node; None while there is no gateway."""
    if not Gateway.objects.filter(is_active=True).exists():
        return None
    return Dispatch.objects.filter(node_id=node.pk, received_at__gte=at - timedelta(days=DAYS)).count()
