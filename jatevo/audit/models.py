"""The append-only audit log."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class AuditEvent(models.Model):
    """One recorded action: actor, verb, subject and details. The database refuses updates and deletions."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now(), db_index=True)
    actor_kind = models.CharField(max_length=12)  # user, node, validator, system
    actor_id = models.CharField(max_length=254)
    actor_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    org_id = models.UUIDField(null=True, db_index=True)
    verb = models.CharField(max_length=48)  # e.g. node.quarantine
    subject_kind = models.CharField(max_length=24)
    subject_id = models.CharField(max_length=160)
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["subject_kind", "subject_id", "-id"], name="audit_by_subject")]

    def __str__(self) -> str:
        return f"{self.at:%F %T} {self.actor_id} {self.verb} {self.subject_id}"
