"""What was heard and measured of nodes, and by whom."""

import uuid

from django.db import models
from django.db.models.functions import Now

from nodes.models.node import NODE_ID_PATTERN, Node
from nodes.rules.probes import FALSE_ANSWERS, ProbeFault, ProbeKind


class HeartbeatMinute(models.Model):
    """How many heartbeats a node sent in a minute; kept for two days, for the missed-heartbeats rule."""

    pk = models.CompositePrimaryKey("node_id", "minute")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="minutes")
    minute = models.DateTimeField()
    beats = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["minute"], name="heartbeat_minute_age")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.minute:%F %H:%M}: {self.beats}"


class NodeHour(models.Model):
    """A node's hour as evidence for its reputation; kept as long as reputations look back.

    `heard` has bit m set if a heartbeat came in the hour's minute m (0 to 59). Probes are counted by what
    they found; a latency probe passed if it stayed within the target of its time.
    """

    pk = models.CompositePrimaryKey("node_id", "hour")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    heard = models.BigIntegerField(db_default=0)
    health_passed = models.PositiveIntegerField(db_default=0)
    health_failed = models.PositiveIntegerField(db_default=0)
    audits_passed = models.PositiveIntegerField(db_default=0)
    audits_failed = models.PositiveIntegerField(db_default=0)
    latency_passed = models.PositiveIntegerField(db_default=0)
    latency_slow = models.PositiveIntegerField(db_default=0)

    class Meta:
        indexes = [models.Index(fields=["hour"], name="node_hour_by_time")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.hour:%F %H}h"


class Validator(models.Model):
    """A machine that probes nodes and posts what it measured. Made in the admin."""

    id = models.CharField(primary_key=True, max_length=64)
    token_version = models.PositiveIntegerField(default=1)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id__regex=NODE_ID_PATTERN), name="validator_id_wellformed"
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Probe(models.Model):
    """What a validator measured of a node. Latencies in milliseconds, tps in tokens a second.

    A failed probe has a `fault`, which decides what it `counts_as` (nodes/rules/probes.py); '' is nothing.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="probes")
    validator = models.ForeignKey(Validator, on_delete=models.PROTECT, related_name="probes")
    kind = models.CharField(max_length=8, choices=[(each.value, each.label) for each in ProbeKind])
    ok = models.BooleanField()
    fault = models.CharField(
        max_length=16, blank=True, db_default="", choices=[(each.value, each.label) for each in ProbeFault]
    )
    counts_as = models.CharField(max_length=8, blank=True, db_default="", editable=False)
    ts = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    p50_ms = models.FloatField(null=True)
    p95_ms = models.FloatField(null=True)
    p99_ms = models.FloatField(null=True)
    tps = models.FloatField(null=True)
    detail = models.CharField(max_length=500, blank=True, help_text="for people; never judged")

    class Meta:
        ordering = ["-received_at"]
        indexes = [
            models.Index(fields=["node", "-received_at"], name="probe_by_node"),
            # what no exemption excuses is looked for among these
            models.Index(
                fields=["node", "received_at"],
                name="probe_false_answers",
                condition=models.Q(fault__in=FALSE_ANSWERS),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=[each.value for each in ProbeKind]), name="probe_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(fault="")
                | models.Q(ok=False, fault__in=[each.value for each in ProbeFault]),
                name="probe_fault_known",
            ),
            # the guard against replays that does not go with the cache
            models.UniqueConstraint(fields=["validator", "node", "kind", "ts"], name="probe_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.node_id}: {'ok' if self.ok else 'failed'}"


class SweeperClock(models.Model):
    """When the sweeper last ran, and the moment from which deadlines count (one row).

    The console's own outage takes nobody offline: a gap in the runs moves `counting_from` forward.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_run_at = models.DateTimeField()
    counting_from = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="sweeper_clock_one_row")]

    def __str__(self) -> str:
        return f"last run {self.last_run_at:%F %T}, counting from {self.counting_from:%F %T}"
