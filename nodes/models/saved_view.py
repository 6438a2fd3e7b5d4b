"""Saved views of the node list."""

from django.conf import settings
from django.db import models

from jatevo.accounts.saved_views import NamedQuery


class SavedView(NamedQuery):
    """A person's named filters, order and columns: the query string of /nodes/ without the page number."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="node_views")

    class Meta(NamedQuery.Meta):
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="saved_view_name_once")]
