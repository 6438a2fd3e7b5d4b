"""Incidents, said to everybody, and the network's hours, which trends and history are drawn from."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class Severity(models.TextChoices):
    INFO = "info", "Info"
    WARN = "warn", "Warning"
    MAJOR = "major", "Major"


class IncidentKind(models.TextChoices):
    INCIDENT = "incident", "Incident"
    MAINTENANCE = "maintenance", "Scheduled maintenance"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> Self:
        """Not resolved yet, announced maintenance included."""
        return self.filter(resolved_at__isnull=True)

    def resolved(self) -> Self:
        return self.filter(resolved_at__isnull=False)

    def under_way(self, *, at: datetime) -> Self:
        """Those that have begun and not ended at a moment."""
        return self.filter(starts_at__lte=at).exclude(resolved_at__lte=at)

    def that_happened(self) -> Self:
        """But for maintenance that was called off."""
        return self.exclude(resolved_at__lt=models.F("starts_at"))

    def announced(self, *, at: datetime) -> Self:
        """Maintenance that has yet to begin."""
        return self.open().filter(starts_at__gt=at)


class Incident(models.Model):
    """An announced trouble or maintenance. Written by staff in the admin; '' as region is the whole network.

    It lasts from `starts_at` to `resolved_at`; `ends_at` is what was planned. Maintenance that was resolved
    before it began was called off. With `exempts_nodes` the nodes of the region lose no reputation for that
    time (`nodes.models.Exemption`).
    """

    kind = models.CharField(max_length=12, choices=IncidentKind.choices, default=IncidentKind.INCIDENT)
    severity = models.CharField(max_length=5, choices=Severity.choices, default=Severity.INFO)
    title = models.CharField(max_length=140)
    description = models.TextField(blank=True)
    region = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField("planned end", null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    exempts_nodes = models.BooleanField(
        "exempts nodes", default=False, help_text="nodes of the region lose no reputation for this time"
    )

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(severity__in=Severity.values), name="incident_severity_known"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=IncidentKind.values), name="incident_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(resolved_at__isnull=True)
                | models.Q(resolved_at__gte=models.F("starts_at"))
                | models.Q(kind=IncidentKind.MAINTENANCE),
                name="incident_resolved_after_start",
                violation_error_message="An incident cannot be resolved before it began.",
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True) | models.Q(ends_at__gt=models.F("starts_at")),
                name="incident_planned_end_after_start",
                violation_error_message="The planned end must come after the start.",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def called_off(self) -> bool:
        return self.resolved_at is not None and self.resolved_at < self.starts_at


class IncidentState(models.TextChoices):
    SCHEDULED = "scheduled", "Scheduled"
    INVESTIGATING = "investigating", "Investigating"
    IDENTIFIED = "identified", "Identified"
    MONITORING = "monitoring", "Monitoring"
    RESOLVED = "resolved", "Resolved"


class IncidentUpdate(models.Model):
    """What was said in the course of an incident. Public but for `by`."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="updates")
    at = models.DateTimeField(default=timezone.now)
    state = models.CharField(
        max_length=13, choices=IncidentState.choices, default=IncidentState.INVESTIGATING
    )
    text = models.TextField()
    by = models.CharField(max_length=320, editable=False)

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=IncidentState.values), name="incident_update_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_state_display()} at {self.at:%F %H:%M}"


class RegionHour(models.Model):
    """One hour of a region, or of the whole network (region ''): what trends, heatmap and history read.

    Latency and traffic are computed from ClickHouse, in full each time that something of the hour changes
    (`metrics.ChangedHour`), so that repeats change nothing. Null is not known. `active_nodes` and
    `models_cached` are the last sample taken in the hour; minutes are summed over the region's nodes.
    """

    pk = models.CompositePrimaryKey("hour", "region")
    hour = models.DateTimeField()
    region = models.CharField(max_length=32, blank=True)
    active_nodes = models.PositiveIntegerField(null=True)
    models_cached = models.PositiveIntegerField(null=True)  # of the whole network alone
    p95_ms = models.FloatField(null=True)
    probes = models.PositiveBigIntegerField(null=True)
    requests = models.PositiveBigIntegerField(null=True)
    tokens_input = models.PositiveBigIntegerField(null=True)
    tokens_output = models.PositiveBigIntegerField(null=True)
    errors = models.PositiveBigIntegerField(null=True)
    minutes_up = models.PositiveBigIntegerField(null=True)
    minutes_expected = models.PositiveBigIntegerField(null=True)
    computed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["region", "hour"], name="region_hour_by_region")]

    def __str__(self) -> str:
        return f"{self.region or 'network'} {self.hour:%F %H}h"
