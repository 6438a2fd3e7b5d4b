"""How nodes stand: the figures that lists show and sort by, and the days behind a reputation."""

from django.db import models

from nodes.models.node import Node


class NodeStanding(models.Model):
    """What the metrics store last said of a node, for lists that sort ten thousand of them.

    Latencies in milliseconds of the last probe (at `measured_at`), uptime over 7 days from 0 to 1; null is
    not known. `as_of` is when the store was asked. Derived: `nodes.figures` writes it, anybody may rebuild it.
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

    `evidence` is what nodes/reputation/formula.py reads and writes: per sub-score its weight and the causes of lost
    points. Kept for the days that the reputation looks back on.
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
    """Until when the evidence of all nodes is judged (one row): the next run goes on from there."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_run_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="reputation_clock_one_row")]

    def __str__(self) -> str:
        return f"judged until {self.last_run_at:%F %T}"
