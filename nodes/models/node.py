"""Nodes, their hardware attestations, and the keys they sign with."""

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import MD5, Cast, Concat, Now, Substr
from guardian.models import GroupObjectPermission, UserObjectPermission

from jatevo.accounts.models import Org, Role, User
from jatevo.wire import names
from jatevo.wire.concurrency import DEFAULT_CONCURRENCY, MAX_CONCURRENCY
from nodes.rules.lifecycle import LifecycleState, Phase, Status

NODE_ID_PATTERN = f"^{names.NODE_ID_PATTERN}$"
# Each heartbeat updates a node, and PostgreSQL checks it anew: a pattern that counts takes it several times as long. The
# columns limit the length.
_ID_CHARACTERS = f"^{names.NODE_ID_CHARACTER}+$"
_REGION_CHARACTERS = f"^{names.REGION_CHARACTER}+$"

# The pseudonym of a shared node. It is random, so that it does not reveal the node's id.
_NEW_PSEUDONYM = Concat(models.Value("anon-"), Substr(MD5(Cast(RandomUUID(), models.TextField())), 1, 10))


class Runtime(models.TextChoices):
    OLLAMA = "ollama", "Ollama"
    VLLM = "vllm", "vLLM"
    TENSORRTLLM = "tensorrtllm", "TensorRT-LLM"
    TGI = "tgi", "TGI"


class NodeQuerySet(models.QuerySet["Node"]):
    def visible_to(self, user: object) -> Self:
        """The nodes a person may see: an admin all, an operator the organisation's, everybody else the shared
        ones.

        `nodes.access.names` decides under which name they are shown.
        """
        if isinstance(user, User) and user.is_active:
            if user.role == Role.ADMIN:
                return self
            if user.role == Role.OPERATOR:
                return self.filter(org_id=user.org_id)
        return self.filter(shared=True)

    def named_to(self, user: object) -> Self:
        """The visible nodes whose id a person may know. For a viewer these are the nodes granted to them."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.role in (Role.ADMIN, Role.OPERATOR):
            return self.visible_to(user)
        # Read from the few rows of grants. guardian's get_objects_for_user would read every node.
        wanted = {
            "permission__codename": "view_node",
            "permission__content_type__app_label": Node._meta.app_label,
            "permission__content_type__model": Node._meta.model_name,
        }
        singly = UserObjectPermission.objects.filter(user=user, **wanted)
        by_group = GroupObjectPermission.objects.filter(group__in=user.groups.all(), **wanted)
        granted = singly.values("object_pk").union(by_group.values("object_pk"))
        return self.visible_to(user).filter(pk__in=granted)

    def owned_by(self, user: User) -> Self:
        """The nodes a person may manage: all for an admin, the organisation's for an operator."""
        return self.visible_to(user) if user.role in (Role.ADMIN, Role.OPERATOR) else self.none()

    def overdue(self, *, heard_before: datetime) -> Self:
        """Active nodes whose last heartbeat is older than `heard_before`."""
        never = models.Q(last_heartbeat_at__isnull=True, status_since__lt=heard_before)
        return self.filter(models.Q(last_heartbeat_at__lt=heard_before) | never, status=Status.ACTIVE)


class Node(models.Model):
    """A machine that serves requests. Only nodes/actions writes `status`."""

    id = models.CharField(primary_key=True, max_length=names.MAX_NODE_ID_CHARACTERS)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="nodes")
    region = models.CharField(max_length=names.MAX_REGION_CHARACTERS)
    runtime = models.CharField(max_length=16, choices=Runtime.choices)
    status = models.CharField(
        max_length=12, choices=[(s.value, s.label) for s in Status], default=Status.PENDING
    )
    # When a pending node sent its first heartbeat, which makes its phase PROBING. Null: REGISTERED.
    probing_since = models.DateTimeField(null=True)
    status_since = models.DateTimeField(db_default=Now())
    status_reason = models.CharField(max_length=40, blank=True)
    failed_probes = models.PositiveSmallIntegerField(default=0)  # in a row, while probing
    passed_audits = models.PositiveSmallIntegerField(default=0)  # in a row, while in quarantine
    fraud = models.BooleanField(default=False)  # a quarantine that audits do not end

    reputation = models.DecimalField(max_digits=5, decimal_places=2, null=True)  # null: not known yet
    # Probation: R when a quarantine ended under the floor. Only a further fall quarantines again. Else null.
    pardoned_reputation = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    token_version = models.PositiveIntegerField(default=1)
    models_offered = ArrayField(models.CharField(max_length=names.MAX_NAME_CHARACTERS), default=list)
    # the models have changed, and their history does not show it yet
    offers_behind = models.BooleanField(default=False, db_default=False, editable=False)
    concurrency = models.PositiveSmallIntegerField(
        default=DEFAULT_CONCURRENCY,
        db_default=DEFAULT_CONCURRENCY,
        help_text="requests that it serves at once, as it says",
    )
    endpoint = models.URLField(max_length=300, blank=True)
    agent_version = models.CharField(max_length=names.MAX_NAME_CHARACTERS, blank=True)
    wallet_chain = models.CharField(max_length=24, blank=True)
    wallet_address = models.CharField(max_length=128, blank=True)
    asn_hint = models.CharField(max_length=64, blank=True)
    green_energy = models.BooleanField(default=False)
    shared = models.BooleanField(
        default=False, help_text="viewers and the public see the node, under its pseudonym"
    )
    pseudonym = models.CharField(max_length=24, unique=True, db_default=_NEW_PSEUDONYM, editable=False)

    first_heard_at = models.DateTimeField(null=True)  # heartbeats are expected from then on; never changes
    last_heartbeat_at = models.DateTimeField(null=True)  # by the server's clock
    last_heartbeat_ts = models.FloatField(null=True)  # by the agent's clock, unix seconds; must increase
    last_metrics = models.JSONField(default=dict)
    last_health_at = models.DateTimeField(null=True)  # the last probe of each kind, to know what is due next
    last_latency_at = models.DateTimeField(null=True)
    last_audit_at = models.DateTimeField(null=True)
    # Whether validators, and so gateways, reach the endpoint (nodes/rules/reachability.py). Null: unknown.
    reachable = models.BooleanField(null=True)
    reachable_since = models.DateTimeField(null=True)
    challenged_at = models.DateTimeField(null=True)  # when a heartbeat last took a challenge along
    challenge_audited_at = models.DateTimeField(null=True)  # the last challenge that was an audit
    challenge_passed_at = models.DateTimeField(null=True)
    proof_waiting = models.BooleanField(default=False, db_default=False)  # a challenge waits for a heartbeat
    beat_minute = models.DateTimeField(null=True)  # the minute that `beats` counts
    beats = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = NodeQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["org", "id"], name="node_by_org"),
            models.Index(fields=["status", "region"], name="node_by_status_region"),
            # none on what each heartbeat changes: see migration 0025
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(id__regex=_ID_CHARACTERS), name="node_id_wellformed"),
            models.CheckConstraint(
                condition=models.Q(region__regex=_REGION_CHARACTERS), name="node_region_wellformed"
            ),
            models.CheckConstraint(condition=models.Q(runtime__in=Runtime.values), name="node_runtime_known"),
            models.CheckConstraint(
                condition=models.Q(concurrency__range=(1, MAX_CONCURRENCY)), name="node_concurrency_range"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=[s.value for s in Status]), name="node_status_known"
            ),
            models.CheckConstraint(
                condition=models.Q(reputation__isnull=True) | models.Q(reputation__range=(0, 100)),
                name="node_reputation_range",
            ),
            models.CheckConstraint(
                condition=models.Q(pardoned_reputation__isnull=True)
                | models.Q(pardoned_reputation__range=(0, 100)),
                name="node_pardoned_reputation_range",
            ),
            models.CheckConstraint(
                condition=models.Q(probing_since__isnull=True) | models.Q(status="pending"),
                name="node_probing_is_pending",
            ),
            models.CheckConstraint(
                condition=models.Q(fraud=False) | models.Q(status="quarantine"),
                name="node_fraud_is_quarantined",
            ),
            models.CheckConstraint(
                condition=models.Q(reachable__isnull=True, reachable_since__isnull=True)
                | models.Q(reachable__isnull=False, reachable_since__isnull=False),
                name="node_reachable_since_a_moment",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def lifecycle_state(self) -> LifecycleState:
        """The state for the lifecycle table.

        A pending node is REGISTERED until its first heartbeat, then PROBING.
        """
        if self.status == Status.PENDING:
            phase = Phase.REGISTERED if self.probing_since is None else Phase.PROBING
        else:
            phase = Phase(self.status)
        return LifecycleState(phase, self.failed_probes, self.passed_audits, self.fraud)


class NodeAttestation(models.Model):
    """What the node states about its hardware. It is the owner's statement, not a proof."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, primary_key=True, related_name="attestation")
    gpu_model = models.CharField(max_length=names.MAX_NAME_CHARACTERS, blank=True)
    vram_gb = models.PositiveIntegerField(null=True)
    driver_version = models.CharField(max_length=names.MAX_NAME_CHARACTERS, blank=True)
    cuda_version = models.CharField(max_length=names.MAX_NAME_CHARACTERS, blank=True)
    hardware_hash = models.CharField(max_length=names.MAX_NAME_CHARACTERS, blank=True)
    energy_proof_url = models.URLField(max_length=300, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.node_id}: {self.gpu_model}"


class NodeKey(models.Model):
    """A public key and the time in which it was current. The current key has no end."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="keys")
    public_key = models.BinaryField(max_length=32)
    valid_from = models.DateTimeField(db_default=Now())
    valid_to = models.DateTimeField(null=True)
    added_by = models.CharField(max_length=320)
    # another node had this key first, before the database refused that; no new such rows are created
    duplicate = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        ordering = ["-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["node"], condition=models.Q(valid_to__isnull=True), name="node_key_one_current"
            ),
            models.UniqueConstraint(fields=["node", "public_key"], name="node_key_used_once"),
            # a key belongs to one node for ever, whether it is current or not
            models.UniqueConstraint(
                fields=["public_key"], condition=models.Q(duplicate=False), name="node_key_of_one_node"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} from {self.valid_from:%F}"
