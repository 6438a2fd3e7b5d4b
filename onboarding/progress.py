"""Reads the state of an enrolment for the checklist."""

from django.db.models import Min

from nodes.models import Enrollment, Node
from nodes.rules.lifecycle import Reason, Status
from onboarding.checklist import LastProbe, NodeSignals, Signals
from receipts.models import Receipt


def signals_of(enrollment: Enrollment) -> Signals:
    """The enrolment and the node that registered with it, if one has."""
    node = enrollment.last_node
    return Signals(
        created_at=enrollment.created_at,
        expires_at=enrollment.expires_at,
        node=None if node is None else _node_signals(node),
    )


def _node_signals(node: Node) -> NodeSignals:
    probe = node.probes.order_by("-received_at").first()
    first_beat = node.transitions.filter(reason=Reason.FIRST_HEARTBEAT).aggregate(at=Min("at"))["at"]
    # every receipt is younger than its node, so this bound skips older partitions
    receipts = Receipt.objects.filter(node_id=node.pk, accepted_at__gte=node.created_at)
    return NodeSignals(
        registered_at=node.created_at,
        phase=node.lifecycle_state.phase,
        status_reason=node.status_reason,
        first_heartbeat_at=first_beat,
        last_heartbeat_at=node.last_heartbeat_at,
        active_at=node.transitions.filter(to_status=Status.ACTIVE).aggregate(at=Min("at"))["at"],
        first_receipt_at=receipts.order_by("accepted_at").values_list("accepted_at", flat=True).first(),
        last_probe=None if probe is None else LastProbe(probe.ok, probe.received_at, probe.detail),
        endpoint=node.endpoint,
    )
