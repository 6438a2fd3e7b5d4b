"""Validators: created in the admin, identified by their id, with a derived token like a node's."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, actor_of, record
from nodes.models import Validator
from nodes.tokens import validator_token


def create_validator(*, name: str, by: User | None, at: datetime) -> tuple[Validator, str]:
    """Creates the validator and returns it with its token. An existing one is returned unchanged."""
    with transaction.atomic():
        validator, made = Validator.objects.get_or_create(pk=name, defaults={"created_at": at})
        if made:
            record(
                "validator.create",
                by=actor_of(by) if by else SYSTEM,
                subject_kind="validator",
                subject_id=name,
            )
    return validator, validator_token(validator)


def rotate_validator_token(*, validator: Validator, by: User) -> str:
    """Gives the validator a new token. The old one stops working at once."""
    with transaction.atomic():
        Validator.objects.filter(pk=validator.pk).update(token_version=F("token_version") + 1)
        record("validator.rotate_token", by=actor_of(by), subject_kind="validator", subject_id=validator.pk)
    validator.refresh_from_db(fields=["token_version"])
    return validator_token(validator)
