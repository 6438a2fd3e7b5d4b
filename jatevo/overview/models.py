"""Incidents: what is wrong with the network, said to everybody."""

from typing import Self

from django.db import models
from django.db.models.functions import Now


class Severity(models.TextChoices):
    INFO = "info", "Info"
    WARN = "warn", "Warning"
    MAJOR = "major", "Major"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> Self:
        return self.filter(resolved_at__isnull=True)

    def resolved(self) -> Self:
        return self.filter(resolved_at__isnull=False)


class Incident(models.Model):
    """An announced trouble. Written by staff in the admin; '' as region means the whole network."""

    severity = models.CharField(max_length=5, choices=Severity.choices, default=Severity.INFO)
    title = models.CharField(max_length=140)
    description = models.TextField(blank=True)
    region = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(severity__in=Severity.values), name="incident_severity_known"
            ),
            models.CheckConstraint(
                condition=models.Q(resolved_at__isnull=True)
                | models.Q(resolved_at__gte=models.F("created_at")),
                name="incident_resolved_after_start",
                violation_error_message="An incident cannot be resolved before it began.",
            ),
        ]

    def __str__(self) -> str:
        return self.title
