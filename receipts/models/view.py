"""Saved views of the receipts page."""

from django.conf import settings
from django.db import models

from jatevo.accounts.saved_views import NamedQuery


class ReceiptView(NamedQuery):
    """A person's named search: the query string of /receipts/ without the cursor.

    A preset such as "Last 7 days" is stored as `preset`, so that it moves with the day. Other times are stored as
    instants.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="receipt_views")

    class Meta(NamedQuery.Meta):
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="receipt_view_name_once")]
