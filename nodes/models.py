"""Tables of nodes: who they are, how they enrol, what was heard of them and what they went through."""

import uuid
from datetime import datetime
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from guardian.shortcuts import get_objects_for_user

from jatevo.accounts.models import Org, Role, User
from nodes.lifecycle import Status

NODE_ID_PATTERN = r"^[a-z0-9._-]{1,64}$"
REGION_PATTERN = r"^[a-z0-9-]{1,32}$"


class Runtime(models.TextChoices):
    OLLAMA = "ollama", "Ollama"
    VLLM = "vllm", "vLLM"
    TENSORRTLLM = "tensorrtllm", "TensorRT-LLM"
    TGI = "tgi", "TGI"


class NodeQuerySet(models.QuerySet["Node"]):
    def visible_to(self, user: object) -> Self:
        """The rows a person may see: an admin all, an operator the org's, a viewer those granted singly."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.role == Role.ADMIN:
            return self
        if user.role == Role.OPERATOR:
            return self.filter(org_id=user.org_id)
        granted = get_objects_for_user(user, "nodes.view_node", klass=Node, accept_global_perms=False)
        return self.filter(pk__in=granted.values("pk"))

    def owned_by(self, user: User) -> Self:
        """The rows a person may manage: an admin all, an operator the org's."""
        return self.visible_to(user) if user.role in (Role.ADMIN, Role.OPERATOR) else self.none()

    def overdue(self, *, heard_before: datetime) -> Self:
        """Active nodes whose last sign of life is older than the moment given."""
        never = models.Q(last_heartbeat_at__isnull=True, status_since__lt=heard_before)
        return self.filter(models.Q(last_heartbeat_at__lt=heard_before) | never, status=Status.ACTIVE)


class Node(models.Model):
    """A machine that serves requests. `status` is written by nodes/actions alone."""

    id = models.CharField(primary_key=True, max_length=64)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="nodes")
    region = models.CharField(max_length=32)
    runtime = models.CharField(max_length=16, choices=Runtime.choices)
    status = models.CharField(
        max_length=12, choices=[(s.value, s.label) for s in Status], default=Status.PENDING
    )
    # When the first heartbeat of the present pending spell came (PENDING_PROBE); null means REGISTERED.
    probing_since = models.DateTimeField(null=True)
    status_since = models.DateTimeField(db_default=Now())
    status_reason = models.CharField(max_length=40, blank=True)
    failed_probes = models.PositiveSmallIntegerField(default=0)  # in a row, while probing
    passed_audits = models.PositiveSmallIntegerField(default=0)  # in a row, while in quarantine
    fraud = models.BooleanField(default=False)  # a quarantine that audits do not end

    reputation = models.DecimalField(max_digits=5, decimal_places=2, null=True)  # null: not known yet
    token_version = models.PositiveIntegerField(default=1)
    models_offered = ArrayField(models.CharField(max_length=128), default=list)
    endpoint = models.URLField(max_length=300, blank=True)
    agent_version = models.CharField(max_length=32, blank=True)
    wallet_chain = models.CharField(max_length=24, blank=True)
    wallet_address = models.CharField(max_length=128, blank=True)
    asn_hint = models.CharField(max_length=64, blank=True)
    green_energy = models.BooleanField(default=False)

    last_heartbeat_at = models.DateTimeField(null=True)  # the server's clock: what liveness goes by
    last_heartbeat_ts = models.FloatField(null=True)  # the agent's clock, unix seconds: must only grow
    last_metrics = models.JSONField(default=dict)
    last_health_at = models.DateTimeField(null=True)  # the last probe of each kind, for what is due next
    last_latency_at = models.DateTimeField(null=True)
    last_audit_at = models.DateTimeField(null=True)
    beat_minute = models.DateTimeField(null=True)  # the minute that `beats` counts
    beats = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = NodeQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["org", "id"], name="node_by_org"),
            models.Index(fields=["status", "region"], name="node_by_status_region"),
            models.Index(
                fields=["last_heartbeat_at"], name="node_overdue", condition=models.Q(status="active")
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(id__regex=NODE_ID_PATTERN), name="node_id_wellformed"),
            models.CheckConstraint(
                condition=models.Q(region__regex=REGION_PATTERN), name="node_region_wellformed"
            ),
            models.CheckConstraint(condition=models.Q(runtime__in=Runtime.values), name="node_runtime_known"),
            models.CheckConstraint(
                condition=models.Q(status__in=[s.value for s in Status]), name="node_status_known"
            ),
            models.CheckConstraint(
                condition=models.Q(reputation__isnull=True) | models.Q(reputation__range=(0, 100)),
                name="node_reputation_range",
            ),
            models.CheckConstraint(
                condition=models.Q(probing_since__isnull=True) | models.Q(status="pending"),
                name="node_probing_is_pending",
            ),
            models.CheckConstraint(
                condition=models.Q(fraud=False) | models.Q(status="quarantine"),
                name="node_fraud_is_quarantined",
            ),
        ]

    def __str__(self) -> str:
        return self.id


class NodeAttestation(models.Model):
    """What the node says of its hardware. A statement of its owner, not a proof."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, primary_key=True, related_name="attestation")
    gpu_model = models.CharField(max_length=120, blank=True)
    vram_gb = models.PositiveIntegerField(null=True)
    driver_version = models.CharField(max_length=64, blank=True)
    cuda_version = models.CharField(max_length=32, blank=True)
    hardware_hash = models.CharField(max_length=128, blank=True)
    energy_proof_url = models.URLField(max_length=300, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.node_id}: {self.gpu_model}"


class NodeKey(models.Model):
    """A public key and the time it was good for. The current one has no end."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="keys")
    public_key = models.BinaryField(max_length=32)
    valid_from = models.DateTimeField(db_default=Now())
    valid_to = models.DateTimeField(null=True)
    added_by = models.CharField(max_length=320)

    class Meta:
        ordering = ["-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["node"], condition=models.Q(valid_to__isnull=True), name="node_key_one_current"
            ),
            models.UniqueConstraint(fields=["node", "public_key"], name="node_key_used_once"),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} from {self.valid_from:%F}"


class Enrollment(models.Model):
    """The wish of a person of an org to add a node, as a bearer token shown once and stored hashed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="enrollments")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    token_sha256 = models.BinaryField(max_length=32, unique=True)
    node_id = models.CharField(max_length=64, blank=True)  # '' lets the agent choose
    region = models.CharField(max_length=32, blank=True)
    runtime = models.CharField(max_length=16, choices=Runtime.choices, blank=True)
    uses_left = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    last_node = models.ForeignKey(Node, on_delete=models.SET_NULL, null=True, related_name="enrollments")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(node_id="") | models.Q(node_id__regex=NODE_ID_PATTERN),
                name="enrollment_node_id_wellformed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id or 'any node'} for {self.org_id}"


class NodeTransition(models.Model):
    """One step of a node's life. Append-only."""

    id = models.BigAutoField(primary_key=True)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    from_status = models.CharField(max_length=12)
    to_status = models.CharField(max_length=12)
    reason = models.CharField(max_length=40)
    actor_kind = models.CharField(max_length=12)
    actor_id = models.CharField(max_length=320)
    evidence = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["node", "-id"], name="transition_by_node")]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.from_status} → {self.to_status} ({self.reason})"


class HeartbeatMinute(models.Model):
    """How many heartbeats a node sent in a minute; kept for two days, for the missed-heartbeats rule."""

    pk = models.CompositePrimaryKey("node_id", "minute")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="minutes")
    minute = models.DateTimeField()
    beats = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["minute"], name="heartbeat_minute_age")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.minute:%F %H:%M}: {self.beats}"


class Validator(models.Model):
    """A machine that probes nodes and posts what it measured. Made in the admin."""

    id = models.CharField(primary_key=True, max_length=64)
    token_version = models.PositiveIntegerField(default=1)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id__regex=NODE_ID_PATTERN), name="validator_id_wellformed"
            ),
        ]

    def __str__(self) -> str:
        return self.id


class ProbeKind(models.TextChoices):
    HEALTH = "health", "Health"
    LATENCY = "latency", "Latency"
    AUDIT = "audit", "Audit"


class Probe(models.Model):
    """What a validator measured of a node. Latencies in milliseconds, tps in tokens a second."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="probes")
    validator = models.ForeignKey(Validator, on_delete=models.PROTECT, related_name="probes")
    kind = models.CharField(max_length=8, choices=ProbeKind.choices)
    ok = models.BooleanField()
    ts = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    p50_ms = models.FloatField(null=True)
    p95_ms = models.FloatField(null=True)
    p99_ms = models.FloatField(null=True)
    tps = models.FloatField(null=True)
    detail = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-received_at"]
        indexes = [models.Index(fields=["node", "-received_at"], name="probe_by_node")]
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=ProbeKind.values), name="probe_kind_known"),
            # the guard against replays that does not go with the cache
            models.UniqueConstraint(fields=["validator", "node", "kind", "ts"], name="probe_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.node_id}: {'ok' if self.ok else 'failed'}"


class SweeperClock(models.Model):
    """When the sweeper last ran, and the moment from which deadlines count (one row).

    The console's own outage takes nobody offline: a gap in the runs moves `counting_from` forward.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_run_at = models.DateTimeField()
    counting_from = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="sweeper_clock_one_row")]

    def __str__(self) -> str:
        return f"last run {self.last_run_at:%F %T}, counting from {self.counting_from:%F %T}"
