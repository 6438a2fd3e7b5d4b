"""Nodes: who they are, what they say of their hardware, and the keys they sign with."""

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
REGION_PATTERN = f"^{names.REGION_PATTERN}$"


# The name under which strangers see a shared node: random, so that it leads nobody to the node's id.
_NEW_PSEUDONYM = Concat(models.Value("anon-"), Substr(MD5(Cast(RandomUUID(), models.TextField())), 1, 10))


class Runtime(models.TextChoices):
    OLLAMA = "ollama", "Ollama"
    VLLM = "vllm", "vLLM"
    TENSORRTLLM = "tensorrtllm", "TensorRT-LLM"
    TGI = "tgi", "TGI"


class NodeQuerySet(models.QuerySet["Node"]):
    def visible_to(self, user: object) -> Self:
        """The rows a person may see: an admin all, an operator the org's, everybody else those shared.

        Under which name is another question: `nodes.access.names`.
        """
        if isinstance(user, User) and user.is_active:
            if user.role == Role.ADMIN:
                return self
            if user.role == Role.OPERATOR:
                return self.filter(org_id=user.org_id)
        return self.filter(shared=True)

    def named_to(self, user: object) -> Self:
        """The visible rows that a person sees under their own id; a viewer those granted singly."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.role in (Role.ADMIN, Role.OPERATOR):
            return self.visible_to(user)
        # By the grants' own rows, which are few. guardian's get_objects_for_user reads every node for them.
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
    # R when a quarantine ended while it was under the floor: only a further fall quarantines again. Else null.
    pardoned_reputation = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    token_version = models.PositiveIntegerField(default=1)
    models_offered = ArrayField(models.CharField(max_length=names.MAX_NAME_CHARACTERS), default=list)
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

    first_heard_at = models.DateTimeField(null=True)  # from then on minutes are expected; never changes
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
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def lifecycle_state(self) -> LifecycleState:
        """What the lifecycle table decides on: pending is REGISTERED until a first heartbeat, then PROBING."""
        if self.status == Status.PENDING:
            phase = Phase.REGISTERED if self.probing_since is None else Phase.PROBING
        else:
            phase = Phase(self.status)
        return LifecycleState(phase, self.failed_probes, self.passed_audits, self.fraud)


class NodeAttestation(models.Model):
    """What the node says of its hardware. A statement of its owner, not a proof."""

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
    """A public key and the time it was good for. The current one has no end."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="keys")
    public_key = models.BinaryField(max_length=32)
    valid_from = models.DateTimeField(db_default=Now())
    valid_to = models.DateTimeField(null=True)
    added_by = models.CharField(max_length=320)
    # another node had this key first, from before the database refused that; nothing makes new ones
    duplicate = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        ordering = ["-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["node"], condition=models.Q(valid_to__isnull=True), name="node_key_one_current"
            ),
            models.UniqueConstraint(fields=["node", "public_key"], name="node_key_used_once"),
            # a key is one node's for ever, whether it is current or not
            models.UniqueConstraint(
                fields=["public_key"], condition=models.Q(duplicate=False), name="node_key_of_one_node"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} from {self.valid_from:%F}"
