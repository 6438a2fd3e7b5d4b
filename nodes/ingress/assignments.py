"""Which nodes a validator should probe now."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q

from jatevo.wire.keys import public_key_text
from nodes.models import Exemption, ExemptionKind, Node, NodeKey
from nodes.rules.lifecycle import Status
from nodes.rules.probes import ProbeKind

POLL_AFTER_SECONDS = 2
MOST_AT_ONCE = 500
MOST_FORMER_KEYS = 10
PENDING_HEALTH_EVERY = timedelta(seconds=5)
HEALTH_EVERY = timedelta(seconds=60)
LATENCY_EVERY = timedelta(seconds=60)
AUDIT_EVERY = timedelta(hours=1)
QUARANTINE_AUDIT_EVERY = timedelta(minutes=10)


@dataclass(frozen=True)
class Assignment:
    """A node, the keys to check its signatures, and the kinds of probe that are due.

    An answer signed by one of the `former_keys` (newest first) is reported as `bad_status`, because the node
    may not know yet that its key was changed.
    """

    node_id: str
    endpoint: str
    public_key: str
    former_keys: tuple[str, ...]
    status: str
    due: tuple[ProbeKind, ...]


@dataclass(frozen=True)
class _Rule:
    """A probe of this kind is due in this status when the last one is older than the interval."""

    kind: ProbeKind
    status: Status
    every: timedelta
    extra: Q

    def condition(self, at: datetime) -> Q:
        column = f"last_{self.kind.value}_at"
        old = Q(**{f"{column}__isnull": True}) | Q(**{f"{column}__lte": at - self.every})
        if self.status is Status.PENDING:
            # after a node becomes pending, its first probe is due at once
            old |= Q(**{f"{column}__lt": F("probing_since")})
        return Q(status=self.status) & old & self.extra


# Nodes in announced maintenance get no health probes. They are still audited: not answering costs them
# nothing, and wrong answers count at any time.
_NOT_IN_MAINTENANCE = Q(in_maintenance=False)
_RULES = (
    _Rule(
        ProbeKind.HEALTH,
        Status.PENDING,
        PENDING_HEALTH_EVERY,
        Q(probing_since__isnull=False) & _NOT_IN_MAINTENANCE,
    ),
    _Rule(ProbeKind.HEALTH, Status.ACTIVE, HEALTH_EVERY, _NOT_IN_MAINTENANCE),
    _Rule(ProbeKind.LATENCY, Status.ACTIVE, LATENCY_EVERY, _NOT_IN_MAINTENANCE),
    _Rule(ProbeKind.AUDIT, Status.ACTIVE, AUDIT_EVERY, Q()),
    # audits do not end a quarantine for fraud, so none is due
    _Rule(ProbeKind.AUDIT, Status.QUARANTINE, QUARANTINE_AUDIT_EVERY, Q(fraud=False)),
)


def due_assignments(*, at: datetime) -> list[Assignment]:
    """Up to 500 nodes for which a probe is due. Pending nodes come first.

    A pending node is due once it has sent a heartbeat. A node without an endpoint cannot be probed.
    """
    maintenance = Exemption.objects.filter(node=OuterRef("pk"), kind=ExemptionKind.MAINTENANCE).covering(at)
    probed = Node.objects.exclude(endpoint="").annotate(in_maintenance=Exists(maintenance))
    due: dict[str, list[ProbeKind]] = {}
    nodes: dict[str, Node] = {}
    for rule in _RULES:
        matching = probed.filter(rule.condition(at)).order_by("status_since", "id")
        for node in matching.only("id", "endpoint", "status")[:MOST_AT_ONCE]:
            if node.pk in due or len(due) < MOST_AT_ONCE:
                nodes[node.pk] = node
                due.setdefault(node.pk, []).append(rule.kind)
    keys: dict[str, str] = {}
    former: dict[str, list[str]] = {}
    for key in NodeKey.objects.filter(node_id__in=nodes).order_by("-valid_from"):
        text = public_key_text(bytes(key.public_key))
        if key.valid_to is None:
            keys[key.node_id] = text
        elif len(named := former.setdefault(key.node_id, [])) < MOST_FORMER_KEYS:
            named.append(text)
    return [
        Assignment(
            node_id=node_id,
            endpoint=nodes[node_id].endpoint,
            public_key=keys[node_id],
            former_keys=tuple(former.get(node_id, ())),
            status=nodes[node_id].status,
            due=tuple(kinds),
        )
        for node_id, kinds in due.items()
        if node_id in keys
    ]
