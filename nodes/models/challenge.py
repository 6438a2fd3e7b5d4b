"""Challenges: what the console asks a node through the answer to its heartbeat."""

import uuid

from django.db import models
from django.db.models.functions import Now

from nodes.models.node import Node
from nodes.models.observation import Probe
from nodes.rules.challenges import ChallengeKind, ChallengeOutcome
from nodes.rules.probes import ProbeFault

MAX_PROMPT_CHARACTERS = 2000


class Challenge(models.Model):
    """A nonce for the node to sign and, for some kinds, a prompt for its runtime. Only nodes/actions writes it.

    It travels with a heartbeat's answer (`asked_at`), is answered until `expires_at` or not at all, and is
    settled once. `answer_ms` is from question to answer by the console's clock. `output_hash`, `tokens_output`
    and `first_token_ms` are what the agent says. `probe` is the probe that it counted as, if it did.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="challenges", db_index=False)
    kind = models.CharField(max_length=8, choices=[(each.value, each.label) for each in ChallengeKind])
    nonce = models.CharField(max_length=32, unique=True)
    prompt = models.TextField(max_length=MAX_PROMPT_CHARACTERS, blank=True, help_text="the console's own")
    request_id = models.CharField(max_length=128, blank=True, help_text="of the receipt that it asks for")
    asked_for_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    asked_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)
    outcome = models.CharField(
        max_length=12,
        choices=[(each.value, each.label) for each in ChallengeOutcome],
        default=ChallengeOutcome.OPEN.value,
    )
    fault = models.CharField(
        max_length=16, blank=True, choices=[(each.value, each.label) for each in ProbeFault]
    )
    answer_ms = models.FloatField(null=True)
    output_hash = models.CharField(max_length=80, blank=True)
    tokens_output = models.PositiveIntegerField(null=True)
    first_token_ms = models.FloatField(null=True)
    probe = models.OneToOneField(Probe, on_delete=models.SET_NULL, null=True, related_name="challenge")

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["node", "-created_at"], name="challenge_by_node"),
            models.Index(fields=["created_at"], name="challenge_age"),
            models.Index(
                fields=["expires_at"],
                name="challenge_open",
                condition=models.Q(outcome=ChallengeOutcome.OPEN.value),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["node", "kind"],
                name="challenge_one_open",
                condition=models.Q(outcome=ChallengeOutcome.OPEN.value),
            ),
            models.UniqueConstraint(
                fields=["node", "request_id"],
                name="challenge_request_once",
                condition=~models.Q(request_id=""),
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=[each.value for each in ChallengeKind]),
                name="challenge_kind_known",
            ),
            models.CheckConstraint(
                condition=models.Q(outcome__in=[each.value for each in ChallengeOutcome]),
                name="challenge_outcome_known",
            ),
            models.CheckConstraint(
                condition=models.Q(outcome=ChallengeOutcome.OPEN.value, settled_at__isnull=True)
                | (~models.Q(outcome=ChallengeOutcome.OPEN.value) & models.Q(settled_at__isnull=False)),
                name="challenge_settled_at_a_moment",
            ),
            models.CheckConstraint(
                condition=~models.Q(outcome=ChallengeOutcome.PASSED.value)
                | models.Q(asked_at__isnull=False, answer_ms__isnull=False, fault=""),
                name="challenge_passed_was_asked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.node_id}: {self.get_outcome_display()}"
