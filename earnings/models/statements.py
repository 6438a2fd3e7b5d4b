"""Statements, and whether an organisation wants them by mail."""

from django.db import models

from jatevo.accounts.models import Org


class StatementPreference(models.Model):
    """Whether the members of an organisation get its statements by mail. Without a row they do not."""

    org = models.OneToOneField(
        Org, on_delete=models.PROTECT, primary_key=True, related_name="statement_preference"
    )
    by_mail = models.BooleanField()
    set_at = models.DateTimeField()
    set_by = models.CharField(max_length=320)

    def __str__(self) -> str:
        return f"{self.org_id}: {'by mail' if self.by_mail else 'not by mail'}"
