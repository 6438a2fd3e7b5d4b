"""Reads the state of an enrolment for the checklist."""

from django.db.models import Min

from nodes.models import Enrollment, Node
from nodes.rules.lifecycle import Reason, Status
from onboarding.agent_config import Platform
from onboarding.answers import answers_of
from onboarding.checklist import LastProbe, NodeSignals, Signals
from onboarding.hints import Machine
from receipts.models import Receipt


def signals_of(enrollment: Enrollment, *, platform: Platform) -> Signals:
    """The enrolment and the node that registered with it, if one has."""
    node = enrollment.last_node
    runtime = node.runtime if node else enrollment.runtime
    return Signals(
        created_at=enrollment.created_at,
        expires_at=enrollment.expires_at,
        ended_at=enrollment.ended_at,
        machine=Machine(platform, runtime=runtime, runtime_url=answers_of(enrollment)["runtime_url"]),
        node=None if node is None else _node_signals(node),
    )


def _node_signals(node: Node) -> NodeSignals:
    probe = node.probes.order_by("-received_at").first()
    passed = node.probes.filter(ok=True).order_by("received_at")
    first_beat = node.transitions.filter(reason=Reason.FIRST_HEARTBEAT).aggregate(at=Min("at"))["at"]
    # every receipt is younger than its node, so this bound skips older partitions
    receipts = Receipt.objects.filter(node_id=node.pk, accepted_at__gte=node.created_at)
    receipt = receipts.order_by("accepted_at").values("accepted_at", "request_id").first()
    runtime_up = (node.last_metrics or {}).get("runtime_up")
    return NodeSignals(
        registered_at=node.created_at,
        phase=node.lifecycle_state.phase,
        status_reason=node.status_reason,
        first_heartbeat_at=first_beat,
        last_heartbeat_at=node.last_heartbeat_at,
        runtime_up=runtime_up if isinstance(runtime_up, bool) else None,
        models=tuple(node.models_offered),
        models_at=node.offers.aggregate(at=Min("offered_from"))["at"],
        reachable=node.reachable,
        reachable_since=node.reachable_since,
        last_probe=None if probe is None else LastProbe(probe.ok, probe.received_at, probe.detail),
        probe_passed_at=passed.values_list("received_at", flat=True).first(),
        active_at=node.transitions.filter(to_status=Status.ACTIVE).aggregate(at=Min("at"))["at"],
        first_receipt_at=receipt["accepted_at"] if receipt else None,
        first_receipt_id=receipt["request_id"] if receipt else "",
        endpoint=node.endpoint,
    )
