"""Enrolments: the wish of a person to add a node."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jatevo.accounts.models import Org
from nodes.models.node import NODE_ID_PATTERN, Node, Runtime


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
