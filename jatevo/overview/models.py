"""Incidents and their updates, which are public, and the network's hours, for trends and history."""

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
    """Maintenance whose planned end has passed and that nobody has resolved."""
    return models.Q(resolved_at__isnull=True, kind=IncidentKind.MAINTENANCE, ends_at__lte=at)


class IncidentQuerySet(models.QuerySet["Incident"]):
    """An incident is over if it was resolved, or if it is maintenance and its planned end has passed."""

    def open(self, *, at: datetime | None = None) -> Self:
        """Incidents not over at a moment (now), including announced maintenance."""
        return self.filter(~_over_as_planned(at or timezone.now()), resolved_at__isnull=True)

    def resolved(self, *, at: datetime | None = None) -> Self:
        """Incidents over at a moment (now)."""
        return self.filter(models.Q(resolved_at__isnull=False) | _over_as_planned(at or timezone.now()))

    def latest_end_first(self) -> Self:
        return self.order_by(Coalesce("resolved_at", "ends_at").desc(nulls_first=True), "-id")

    def under_way(self, *, at: datetime) -> Self:
        """Incidents that have begun and not ended at a moment."""
        return self.filter(~_over_as_planned(at), starts_at__lte=at).exclude(resolved_at__lte=at)

    def touching(self, since: datetime, until: datetime) -> Self:
        """Incidents that happened and overlap `since <= t <= until`."""
        return (
            self.that_happened()
            .filter(~_over_as_planned(since), starts_at__lte=until)
            .exclude(resolved_at__lt=since)
        )

    def that_happened(self) -> Self:
        """All but cancelled maintenance."""
        return self.exclude(resolved_at__lt=models.F("starts_at"))

    def announced(self, *, at: datetime) -> Self:
        """Maintenance that has not begun."""
        return self.open(at=at).filter(starts_at__gt=at)


class Incident(models.Model):
    """A problem or scheduled maintenance. Written by staff in the admin. The region '' is the whole network.

    It lasts from `starts_at` to `ended_at`, which is `resolved_at` or, for maintenance that nobody resolved,
    the planned `ends_at`. Maintenance resolved before it began was cancelled. With `exempts_nodes`, the nodes
    of the region lose no reputation for that time (`nodes.models.Exemption`). `changed_at` is when anything
    public last changed.
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
        """When it was resolved, or the planned end of maintenance, which may lie ahead. None if open."""
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
    """An update of an incident. Public except for `by`."""

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
    """One hour of a region or of the whole network (region ''), for trends, heatmap and history.

    Latency and traffic are recomputed from ClickHouse whenever the hour has new facts
    (`metrics.ChangedHour`), so repeating it is harmless. Null is unknown. `active_nodes` and `models_cached`
    are the last sample taken in the hour. Minutes are summed over the region's nodes.
    """

    pk = models.CompositePrimaryKey("hour", "region")
    hour = models.DateTimeField()
    region = models.CharField(max_length=32, blank=True)
    active_nodes = models.PositiveIntegerField(null=True)
    models_cached = models.PositiveIntegerField(null=True)  # only for the whole network
    p95_ms = models.FloatField(null=True)
    probes = models.PositiveBigIntegerField(null=True)
    requests = models.PositiveBigIntegerField(null=True)
    tokens_input = models.PositiveBigIntegerField(null=True)
    tokens_output = models.PositiveBigIntegerField(null=True)
    errors = models.PositiveBigIntegerField(null=True)
    minutes_up = models.PositiveBigIntegerField(null=True)
    minutes_expected = models.PositiveBigIntegerField(null=True)
    # The moment up to which all facts of the traffic, and of latency and minutes, had arrived.
    computed_at = models.DateTimeField(null=True)
    measured_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["region", "hour"], name="region_hour_by_region")]

    def __str__(self) -> str:
        return f"{self.region or 'network'} {self.hour:%F %H}h"
