"""Incidents, said to everybody, and the network's hours, which trends and history are drawn from."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models.functions import Coalesce, Now
from django.utils import timezone


class Severity(models.TextChoices):
    INFO = "info", "Info"
    WARN = "warn", "Warning"
    MAJOR = "major", "Major"


class IncidentKind(models.TextChoices):
    INCIDENT = "incident", "Incident"
    MAINTENANCE = "maintenance", "Scheduled maintenance"


def _over_as_planned(at: datetime) -> models.Q:
    """Maintenance whose planned end has come, and of which nobody has said how it ended."""
    return models.Q(resolved_at__isnull=True, kind=IncidentKind.MAINTENANCE, ends_at__lte=at)


class IncidentQuerySet(models.QuerySet["Incident"]):
    """What is over: somebody has said so, or it is maintenance and its planned end has come."""

    def open(self, *, at: datetime | None = None) -> Self:
        """Not over at a moment (now), announced maintenance included."""
        return self.filter(~_over_as_planned(at or timezone.now()), resolved_at__isnull=True)

    def resolved(self, *, at: datetime | None = None) -> Self:
        """Over at a moment (now)."""
        return self.filter(models.Q(resolved_at__isnull=False) | _over_as_planned(at or timezone.now()))

    def latest_end_first(self) -> Self:
        return self.order_by(Coalesce("resolved_at", "ends_at").desc(nulls_first=True), "-id")

    def under_way(self, *, at: datetime) -> Self:
        """Those that have begun and not ended at a moment."""
        return self.filter(~_over_as_planned(at), starts_at__lte=at).exclude(resolved_at__lte=at)

    def touching(self, since: datetime, until: datetime) -> Self:
        """Those that happened, for any moment of `since <= t <= until`."""
        return (
            self.that_happened()
            .filter(~_over_as_planned(since), starts_at__lte=until)
            .exclude(resolved_at__lt=since)
        )

    def that_happened(self) -> Self:
        """But for maintenance that was called off."""
        return self.exclude(resolved_at__lt=models.F("starts_at"))

    def announced(self, *, at: datetime) -> Self:
        """Maintenance that has yet to begin."""
        return self.open(at=at).filter(starts_at__gt=at)


class Incident(models.Model):
    """An announced trouble or maintenance. Written by staff in the admin; '' as region is the whole network.

    It lasts from `starts_at` to `ended_at`: to when somebody said that it ended (`resolved_at`), or, for
    maintenance, as planned (`ends_at`). Maintenance that was resolved before it began was called off. With
    `exempts_nodes` the nodes of the region lose no reputation for that time (`nodes.models.Exemption`).
    `changed_at` is when anything that readers are told last changed.
    """

    kind = models.CharField(max_length=12, choices=IncidentKind.choices, default=IncidentKind.INCIDENT)
    severity = models.CharField(max_length=5, choices=Severity.choices, default=Severity.INFO)
    title = models.CharField(max_length=140)
    description = models.TextField(blank=True)
    region = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField("planned end", null=True, blank=True)
    resolved_at = models.DateTimeField("ended at", null=True, blank=True)
    exempts_nodes = models.BooleanField("exempts nodes", default=True)

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
    def ended_at(self) -> datetime | None:
        """The end: as somebody said, or as planned for maintenance, perhaps to come; None if nobody knows."""
        if self.resolved_at is None and self.kind == IncidentKind.MAINTENANCE:
            return self.ends_at
        return self.resolved_at

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
    # Up to when the facts behind the traffic, and behind latency and minutes, had arrived.
    computed_at = models.DateTimeField(null=True)
    measured_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["region", "hour"], name="region_hour_by_region")]

    def __str__(self) -> str:
        return f"{self.region or 'network'} {self.hour:%F %H}h"
