"""Validators and gateways: created in the admin, identified by their id, with a derived token like a node's."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from django.db import transaction
from django.db.models import F

from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, actor_of, record
from nodes.models import Sender
from nodes.tokens import sender_token

S = TypeVar("S", bound=Sender)


def create_sender(
    model: type[S], *, name: str, by: User | None, at: datetime, networks: Sequence[str] = ()
) -> tuple[S, str]:
    """Creates the sender and returns it with its token. An existing one is returned unchanged.

    `networks` are those that it asks nodes from, for operators' firewalls.
    """
    with transaction.atomic():
        sender, made = model._default_manager.get_or_create(
            pk=name, defaults={"created_at": at, "networks": list(networks)}
        )
        if made:
            record(
                f"{model.kind}.create",
                by=actor_of(by) if by else SYSTEM,
                subject_kind=model.kind,
                subject_id=name,
                networks=list(networks),
            )
    return sender, sender_token(sender)


def rotate_sender_token(*, sender: Sender, by: User) -> str:
    """Gives the sender a new token. The old one stops working at once."""
    with transaction.atomic():
        type(sender)._default_manager.filter(pk=sender.pk).update(token_version=F("token_version") + 1)
        record(f"{sender.kind}.rotate_token", by=actor_of(by), subject_kind=sender.kind, subject_id=sender.pk)
    sender.refresh_from_db(fields=["token_version"])
    return sender_token(sender)
