"""Heartbeats and probes of nodes, and the validators that probe."""

import uuid

from django.db import models
from django.db.models.functions import Now

from nodes.models.node import Node
from nodes.models.sender import Sender
from nodes.rules.probes import FALSE_ANSWERS, ProbeFault, ProbeKind


class HeartbeatMinute(models.Model):
    """How many heartbeats a node sent in a minute. Kept for two days, for the missed-heartbeats rule."""

    pk = models.CompositePrimaryKey("node_id", "minute")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="minutes")
    minute = models.DateTimeField()
    beats = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["minute"], name="heartbeat_minute_age")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.minute:%F %H:%M}: {self.beats}"


class NodeHour(models.Model):
    """One hour of a node as evidence for its reputation. Kept as long as reputations look back.

    `heard` has bit m set if a heartbeat came in minute m (0 to 59) of the hour. Probes are counted by result.
    A latency probe passed if it was within the target of its time.
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


class Validator(Sender):
    """A program that probes nodes and posts what it measured."""

    kind = "validator"
    header = "X-Validator-Id"


class Probe(models.Model):
    """What a validator measured of a node. Latencies are in milliseconds, tps in tokens per second.

    The `fault` of a failed probe decides what the probe `counts_as` (nodes/rules/probes.py). '' counts as
    nothing. Without a validator it is the console's own, by a challenge.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="probes")
    validator = models.ForeignKey(Validator, on_delete=models.PROTECT, null=True, related_name="probes")
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
            # finds false answers, which no exemption excuses
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
            # a guard against replays that survives the loss of the cache
            models.UniqueConstraint(fields=["validator", "node", "kind", "ts"], name="probe_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.node_id}: {'ok' if self.ok else 'failed'}"


class SweeperClock(models.Model):
    """When the sweeper last ran, and the moment from which deadlines count (one row).

    After a gap between two runs, and when the clock was set back, deadlines count from that run, so that the
    console's own outage takes no node offline.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_run_at = models.DateTimeField()
    counting_from = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="sweeper_clock_one_row")]

    def __str__(self) -> str:
        return f"last run {self.last_run_at:%F %T}, counting from {self.counting_from:%F %T}"
