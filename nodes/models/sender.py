"""Programs other than nodes that sign their requests: validators and gateways."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Value
from django.db.models.functions import Now

from nodes.models.network import NetworkField
from nodes.models.node import NODE_ID_PATTERN

MOST_NETWORKS = 64


class Sender(models.Model):
    """A program with an id and a derived token, made in the admin. It is made inactive instead of deleted.

    `kind` names it in its token, its audit rows and settings.RATE_LIMITS; `header` bears its id.
    """

    kind: ClassVar[str]
    header: ClassVar[str]

    id = models.CharField(primary_key=True, max_length=64)
    token_version = models.PositiveIntegerField(default=1)
    is_active = models.BooleanField(default=True)
    networks = ArrayField(
        NetworkField(),
        size=MOST_NETWORKS,
        default=list,
        db_default=Value([], output_field=ArrayField(NetworkField())),
        blank=True,
        help_text="the addresses that it asks nodes from, such as 192.0.2.7/32, published for operators' firewalls",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id__regex=NODE_ID_PATTERN), name="%(class)s_id_wellformed"
            ),
        ]

    def __str__(self) -> str:
        return self.id
