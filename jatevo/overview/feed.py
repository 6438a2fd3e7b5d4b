"""Recent transitions of nodes, as far as a person may see them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from nodes.access.names import NodeNames
from nodes.models import Node, NodeTransition
from nodes.rules.explanations import reason_label
from nodes.rules.lifecycle import Phase

SHOWN = 10
LOOK_BACK = timedelta(days=7)


@dataclass(frozen=True)
class RecentTransition:
    """A transition of a node. `name` is the node's name for this reader, `region` may be OTHER_REGIONS."""

    pk: int
    name: str
    status: str
    label: str
    reason: str
    region: str
    at: datetime


def recent_changes(
    user: object, names: NodeNames, *, at: datetime, region_told: Callable[[str], str]
) -> list[RecentTransition]:
    """The last SHOWN transitions of the nodes that a person may see, with regions as shown to them.

    One query.
    """
    transitions = NodeTransition.objects.filter(at__gte=at - LOOK_BACK).select_related("node")
    if not (names.everything and getattr(user, "is_admin", False)):
        transitions = transitions.filter(node__in=Node.objects.visible_to(user))
    transitions = transitions.only(
        "id", "at", "to_status", "reason", "node__id", "node__pseudonym", "node__region"
    )
    return [
        RecentTransition(
            transition.pk,
            names.name(transition.node),
            Phase(transition.to_status).status.value,
            transition.to_status.capitalize(),
            reason_label(transition.reason),
            region_told(transition.node.region),
            transition.at,
        )
        for transition in transitions.order_by("-id")[:SHOWN]
    ]
