"""Enrolments: permissions to add a node."""

import uuid
from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jatevo.accounts.models import Org, Role, User
from jatevo.accounts.permissions import ROLE_PERMISSIONS, Permission, allowed
from nodes.models.node import NODE_ID_PATTERN, Node, Runtime
from nodes.rules.credentials import enrollment_digest


class EnrollmentQuerySet(models.QuerySet["Enrollment"]):
    def manageable_by(self, user: User) -> Self:
        """The enrolments that a person may see and end: all for an admin, the organisation's for an operator."""
        if not allowed(user, Permission.ENROL_NODES):
            return self.none()
        return self if user.is_admin else self.filter(org_id=user.org_id)

    def unused(self, at: datetime) -> Self:
        """Neither used up nor expired nor ended."""
        return self.filter(uses_left__gt=0, expires_at__gt=at, ended_at=None)

    def installable(self, code: str) -> Self:
        """The enrolment of an install code, whether it still holds or not."""
        return self.filter(install_sha256=enrollment_digest(code))

    def good(self, at: datetime) -> Self:
        """Those whose token can register a node: unused, and their creator may still enrol for that
        organisation.
        """
        here = models.Q(created_by__org_id=models.F("org_id"))
        roles = [role for role, held in ROLE_PERMISSIONS.items() if Permission.ENROL_NODES in held]
        may = models.Q(created_by__role=Role.ADMIN) | (models.Q(created_by__role__in=roles) & here)
        return self.unused(at).filter(may, created_by__is_active=True)


class Enrollment(models.Model):
    """Permission to add a node to an organisation. Its bearer token is shown once and stored as a hash."""

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
    # The install code: a short-lived secret of its own that leads to the install script and to agent.yaml.
    install_sha256 = models.BinaryField(max_length=32, unique=True, null=True)
    install_expires_at = models.DateTimeField(null=True)
    # Other answers from Run a Node (platform, models, endpoint, wallet), for the agent's configuration file
    # only.
    answers = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    ended_at = models.DateTimeField(null=True)  # revoked, renewed, or its creator left
    last_node = models.ForeignKey(Node, on_delete=models.SET_NULL, null=True, related_name="enrollments")

    objects = EnrollmentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(node_id="") | models.Q(node_id__regex=NODE_ID_PATTERN),
                name="enrollment_node_id_wellformed",
            ),
            models.CheckConstraint(
                condition=models.Q(install_sha256=None, install_expires_at=None)
                | models.Q(install_sha256__isnull=False, install_expires_at__isnull=False),
                name="enrollment_install_code_expires",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node_id or 'any node'} for {self.org_id}"
