"""Serializers of nodes for the API."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jatevo.accounts.permissions import Permission, allowed
from jatevo.web.figures import Knowledge
from jatevo.wire.names import NODE_ID_PATTERN, REGION_PATTERN
from nodes.access.names import NodeNames
from nodes.access.rights import Rights
from nodes.access.versions import plain_version
from nodes.detail.metrics_tab import known_metrics
from nodes.figures import NodeFigures, standing_figures
from nodes.ingress.answers import KeyAnswer
from nodes.models import Enrollment, Node, NodeAttestation, NodeTransition, Probe, Runtime
from nodes.rules.probes import ProbeFault


class EnrollmentRequest(serializers.Serializer[Any]):
    """POST /v1/enrollments."""

    node_id = serializers.RegexField(rf"^{NODE_ID_PATTERN}\Z", required=False, allow_blank=True, default="")
    region = serializers.RegexField(rf"^{REGION_PATTERN}\Z", required=False, allow_blank=True, default="")
    runtime = serializers.ChoiceField(Runtime.choices, required=False, allow_blank=True, default="")
    uses = serializers.IntegerField(min_value=1, max_value=100_000, default=1)
    org = serializers.UUIDField(required=False, help_text="an admin may enrol for any org")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["uses"] > 1 and attrs["node_id"]:
            raise serializers.ValidationError({"uses": "must be 1 for a token that names a node"})
        return attrs


class EnrollmentAnswer(serializers.ModelSerializer[Enrollment]):
    token = serializers.CharField(help_text="shown once")
    node_id = serializers.CharField(allow_null=True)

    class Meta:
        model = Enrollment
        fields = ("id", "token", "node_id", "expires_at")


class EnrollmentLine(serializers.ModelSerializer[Enrollment]):
    """An item of GET /v1/enrollments. `node_id` is null if the agent chooses it."""

    node_id = serializers.SerializerMethodField()
    org = serializers.CharField(source="org.name")
    org_id = serializers.UUIDField()
    created_by = serializers.EmailField(source="created_by.email")

    class Meta:
        model = Enrollment
        fields = (
            "id", "org", "org_id", "node_id", "region", "runtime", "uses_left", "created_by", "created_at", "expires_at",
        )  # fmt: skip

    def get_node_id(self, enrollment: Enrollment) -> str | None:
        return enrollment.node_id or None


class NodeSummary(serializers.ModelSerializer[Node]):
    """An item of GET /v1/nodes. `node_id` is the pseudonym if the reader may not know the node's id.

    In that case `agent_version` is empty unless it is only a version number.
    """

    node_id = serializers.SerializerMethodField()
    models = serializers.ListField(child=serializers.CharField(), source="models_offered")
    reputation = serializers.DecimalField(
        max_digits=5, decimal_places=2, allow_null=True, help_text="null: not known yet"
    )
    p95_ms = serializers.SerializerMethodField(help_text="of the last probe within an hour; null: unknown")
    figures_state = serializers.SerializerMethodField(
        help_text="how well p95_ms and latency are known: `stale` is the last good value while their source"
        " cannot be asked"
    )
    figures_as_of = serializers.SerializerMethodField(help_text="the moment that they speak of")
    agent_version = serializers.SerializerMethodField()
    reachable = serializers.BooleanField(
        allow_null=True,
        help_text="whether validators, and so gateways, reach it; null: not known yet. Apart from `status`",
    )

    class Meta:
        model = Node
        fields = [
            "node_id", "region", "runtime", "status", "status_since", "status_reason", "reachable",
            "reachable_since", "reputation", "p95_ms",
            "figures_state", "figures_as_of", "models", "green_energy", "agent_version", "last_heartbeat_at",
            "created_at",
        ]  # fmt: skip

    @property
    def _names(self) -> NodeNames:
        names: NodeNames = self.context["names"]
        return names

    def _figures(self, node: Node) -> NodeFigures:
        return standing_figures(getattr(node, "standing", None), at=self.context["at"])

    def get_node_id(self, node: Node) -> str:
        return self._names.name(node)

    def get_p95_ms(self, node: Node) -> float | None:
        return self._figures(node).p95_ms.value

    @extend_schema_field(serializers.ChoiceField(choices=[knowledge.value for knowledge in Knowledge]))
    def get_figures_state(self, node: Node) -> str:
        return self._figures(node).p95_ms.state.value

    def get_figures_as_of(self, node: Node) -> datetime:
        return self._figures(node).p95_ms.as_of

    def get_agent_version(self, node: Node) -> str:
        return node.agent_version if self._names.named(node) else plain_version(node.agent_version)


class AttestationAnswer(serializers.ModelSerializer[NodeAttestation]):
    class Meta:
        model = NodeAttestation
        exclude = ("node",)


class TransitionAnswer(serializers.ModelSerializer[NodeTransition]):
    class Meta:
        model = NodeTransition
        fields = ("at", "from_status", "to_status", "reason", "actor_kind", "actor_id", "evidence")


class ProbeAnswer(serializers.ModelSerializer[Probe]):
    fault = serializers.ChoiceField(
        choices=["", *(fault.value for fault in ProbeFault)], help_text="what failed; '' if it passed"
    )

    class Meta:
        model = Probe
        fields = ("kind", "ok", "fault", "ts", "p50_ms", "p95_ms", "p99_ms", "tps", "detail")


class NodeDetail(NodeSummary):
    """GET /v1/nodes/{node_id}.

    Wallet, endpoint, hardware hash, actors and evidence are shown to the node's owner and admins. Keys,
    receipts and the agent's free text are shown to those who may know the node's id. For others they are null
    or empty, and so is a version that is more than a number.
    """

    attestation = serializers.SerializerMethodField()
    keys = serializers.SerializerMethodField()
    metrics = serializers.SerializerMethodField()
    transitions = serializers.SerializerMethodField()
    probes = serializers.SerializerMethodField()
    wallet = serializers.SerializerMethodField()
    endpoint = serializers.SerializerMethodField()
    latency = serializers.SerializerMethodField(help_text="of the last probe within an hour")
    receipts = serializers.SerializerMethodField(help_text="the last ten")

    class Meta(NodeSummary.Meta):
        fields = [
            *NodeSummary.Meta.fields, "endpoint", "concurrency", "attestation", "keys", "metrics", "latency", "transitions",
            "probes", "wallet", "receipts",
        ]  # fmt: skip

    @property
    def _rights(self) -> Rights:
        rights: Rights = self.context["rights"]
        return rights

    def get_attestation(self, node: Node) -> dict[str, Any] | None:
        attestation = getattr(node, "attestation", None)
        if attestation is None:
            return None
        said = dict(AttestationAnswer(attestation).data)
        if not self._rights.owns:
            said["hardware_hash"] = ""
        if not self._rights.named:
            said["energy_proof_url"] = ""
            for name in ("driver_version", "cuda_version"):
                said[name] = plain_version(said[name])
        return said

    @extend_schema_field(KeyAnswer(many=True))
    def get_keys(self, node: Node) -> list[dict[str, Any]]:
        return list(KeyAnswer(node.keys.all(), many=True).data) if self._rights.named else []

    def get_metrics(self, node: Node) -> dict[str, Any]:
        return node.last_metrics if self._rights.named else known_metrics(node.last_metrics)

    def get_transitions(self, node: Node) -> list[dict[str, Any]]:
        steps = TransitionAnswer(node.transitions.all()[:20], many=True).data
        if self._rights.evidence:
            return list(steps)
        return [{**step, "actor_kind": None, "actor_id": None, "evidence": {}} for step in steps]

    def get_probes(self, node: Node) -> list[dict[str, Any]]:
        probes = ProbeAnswer(node.probes.all()[:10], many=True).data
        return list(probes) if self._rights.owns else [{**probe, "detail": ""} for probe in probes]

    def get_endpoint(self, node: Node) -> str | None:
        return node.endpoint if self._rights.owns else None

    def get_wallet(self, node: Node) -> dict[str, str] | None:
        if not self._rights.wallet or not node.wallet_address:
            return None
        return {"chain": node.wallet_chain, "address": node.wallet_address}

    def get_latency(self, node: Node) -> dict[str, float | None] | None:
        figures = self._figures(node)
        if figures.p95_ms.value is None:
            return None
        measured = {"p50_ms": figures.p50_ms, "p95_ms": figures.p95_ms, "p99_ms": figures.p99_ms}
        return {name: figure.value for name, figure in measured.items()}

    def get_receipts(self, node: Node) -> list[dict[str, Any]]:
        if not self._rights.named or not allowed(self.context["request"].user, Permission.VIEW_RECEIPTS):
            return []
        # every receipt is younger than its node, so this bound skips older partitions
        last = node.receipts.filter(accepted_at__gte=node.created_at).order_by("-accepted_at", "-id")
        return [dict(receipt) for receipt in last.values(*_RECEIPT_MEMBERS)[:10]]


_RECEIPT_MEMBERS = (
    "request_id", "model_id", "accepted_at", "tokens_input", "tokens_output", "p95_ms",
)  # fmt: skip
