"""Messages of the event bus that were refused, for people to look at."""

from django.db import models
from django.db.models.functions import Now


class MessageKind(models.TextChoices):
    """What a message says. Each kind has a subject and a durable consumer of its own."""

    HEARTBEATS = "heartbeats", "Heartbeats"
    RECEIPTS = "receipts", "Receipts"
    PROBES = "probes", "Probes"
    DISPATCHES = "dispatches", "Dispatches"

    @property
    def subject(self) -> str:
        return f"jatevo.{self.value}"


class ParkedState(models.TextChoices):
    PARKED = "parked", "Parked"
    TAKEN = "taken", "Taken"  # after a person tried it again


class ParkedMessage(models.Model):
    """A message that was refused for good and has left the stream.

    A stream that is created anew begins to count anew, so a message is identified by its number and by when it was
    stored. `sender` is who signed it, and '' if nobody is known to have. `headers` are those that the console reads.
    `body` is as it came, unless it `size_bytes` is more. `tries` counts deliveries, and tries by people.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=12, choices=MessageKind)
    sequence = models.BigIntegerField()
    stored_at = models.DateTimeField()
    parked_at = models.DateTimeField(db_default=Now())
    sender = models.CharField(max_length=64, blank=True)
    headers = models.JSONField()
    body = models.BinaryField()
    size_bytes = models.PositiveIntegerField()
    error_type = models.CharField(max_length=32)
    error_message = models.TextField()
    tries = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=ParkedState, default=ParkedState.PARKED)
    taken_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["sequence", "stored_at"], name="parked_once"),
            models.CheckConstraint(
                condition=models.Q(state=ParkedState.TAKEN) ^ models.Q(taken_at=None), name="parked_or_taken"
            ),
        ]
        indexes = [
            models.Index(fields=["kind", "sender", "error_type", "parked_at"], name="parked_by_cause"),
            models.Index(
                fields=["kind", "error_type"],
                condition=models.Q(state=ParkedState.PARKED),
                name="still_parked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.sequence}: {self.error_type}"

    @property
    def is_whole(self) -> bool:
        return len(self.body) == self.size_bytes
