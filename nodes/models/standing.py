"""Standings (the figures that lists show and sort by), and the days behind a reputation."""

from django.db import models

from nodes.models.node import Node


class NodeStanding(models.Model):
    """A node's latest figures from the metrics store, kept here for lists that sort ten thousand nodes.

    Latencies are in milliseconds, of the last probe (at `measured_at`). Uptime is a share from 0 to 1 over 7
    days. Null is unknown. `as_of` is when the store was asked. `nodes.figures` writes the rows and can
    rebuild them.
    """

    node = models.OneToOneField(Node, on_delete=models.CASCADE, primary_key=True, related_name="standing")
    p50_ms = models.FloatField(null=True)
    p95_ms = models.FloatField(null=True)
    p99_ms = models.FloatField(null=True)
    measured_at = models.DateTimeField(null=True)
    uptime_7d = models.FloatField(null=True)
    as_of = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.node_id} at {self.as_of:%F %T}"


class ReputationDay(models.Model):
    """A node's sub-scores of one day (UTC), from 0 to 100, with the evidence that explains them.

    `evidence` has the form that nodes/reputation/days.py reads and writes. Rows are kept for the days that a
    reputation covers.
    """

    pk = models.CompositePrimaryKey("node_id", "day")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="reputation_days")
    day = models.DateField()
    reliability = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    correctness = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    efficiency = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    policy = models.DecimalField(max_digits=5, decimal_places=2, null=True)
    evidence = models.JSONField(default=dict)
    computed_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["day"], name="reputation_day_by_day")]

    def __str__(self) -> str:
        return f"{self.node_id} on {self.day:%F}"


class ReputationClock(models.Model):
    """Until when the evidence of all nodes has been processed (one row).

    The next run continues from there.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_run_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="reputation_clock_one_row")]

    def __str__(self) -> str:
        return f"judged until {self.last_run_at:%F %T}"
