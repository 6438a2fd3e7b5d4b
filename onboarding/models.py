"""Proofs: requests that an operator had the console send through a node."""

import uuid

from django.conf import settings
from django.db import models

from nodes.models import Node

MAX_PROBLEM_CHARACTERS = 500


class ProofRoute(models.TextChoices):
    """How the request reaches the node."""

    ENDPOINT = "endpoint", "Through its endpoint"
    HEARTBEAT = "heartbeat", "Through its heartbeats"


class ProofState(models.TextChoices):
    ASKED = "asked", "Under way"
    ANSWERED = "answered", "Answered"
    FAILED = "failed", "Failed"


class Proof(models.Model):
    """One request through one node. Its receipt bears `request_id`. Times are in milliseconds.

    A proof through heartbeats stays `asked` here: its challenge says what became of it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="proofs")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    request_id = models.CharField(max_length=64, unique=True)
    route = models.CharField(max_length=9, choices=ProofRoute.choices)
    model_id = models.CharField(max_length=128, blank=True)
    state = models.CharField(max_length=8, choices=ProofState.choices, default=ProofState.ASKED)
    finished_at = models.DateTimeField(null=True)
    first_token_ms = models.FloatField(null=True)
    total_ms = models.FloatField(null=True)
    tokens_output = models.PositiveIntegerField(null=True)
    problem = models.CharField(max_length=MAX_PROBLEM_CHARACTERS, blank=True)

    class Meta:
        ordering = ["-asked_at"]
        indexes = [models.Index(fields=["node", "-asked_at"], name="proof_by_node")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state=ProofState.ASKED, finished_at=None)
                | models.Q(
                    state=ProofState.ANSWERED,
                    finished_at__isnull=False,
                    first_token_ms__isnull=False,
                    total_ms__isnull=False,
                    problem="",
                )
                | (models.Q(state=ProofState.FAILED, finished_at__isnull=False) & ~models.Q(problem="")),
                name="proof_says_how_it_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} through {self.node_id}: {self.get_state_display()}"
