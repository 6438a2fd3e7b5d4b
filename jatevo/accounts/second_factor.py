"""A person's second factor: an authenticator app (TOTP). Its secret is shown to that person alone, once.

Whoever sets it up proves the password, and that the app gives the right codes. Admins can only take one away.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django_otp import devices_for_user
from django_otp.plugins.otp_totp.models import TOTPDevice

from jatevo.accounts.actions import prove_password
from jatevo.accounts.models import User
from jatevo.audit.record import Actor, actor_of, record


class WrongCode(Exception):
    """The app's code does not fit; or there is nothing to confirm."""


def begin(*, by: User, password: str, address: str, at: datetime) -> TOTPDevice:
    """A device that is not confirmed yet, in place of an earlier one. Raises WrongCredentials and ApiError."""
    prove_password(by=by, password=password, address=address, at=at)
    with transaction.atomic():
        _unconfirmed(by).delete()
        _record("user.second_factor_begin", by, actor_of(by))
        return TOTPDevice.objects.create(user=by, name="authenticator app", confirmed=False)


def waiting(user: User) -> TOTPDevice | None:
    """The device that the person has begun to set up."""
    return TOTPDevice.objects.filter(user=user, confirmed=False).first()


def confirm(*, by: User, code: str) -> None:
    """From now on signing in asks for a code. It replaces what there was. Raises WrongCode."""
    with transaction.atomic():
        device = _unconfirmed(by).select_for_update().first()
        if device is not None and device.verify_token(code):
            for other in devices_for_user(by, confirmed=None):
                if other != device:
                    other.delete()
            device.confirmed = True
            device.save()
            _record("user.second_factor_add", by, actor_of(by))
            return
    raise WrongCode


def give_up(*, by: User, password: str, address: str, at: datetime) -> None:
    """Takes away one's own. Raises WrongCredentials and ApiError."""
    prove_password(by=by, password=password, address=address, at=at)
    remove(user=by, by=by)


def remove(*, user: User, by: User) -> bool:
    """Takes all second factors from a person; whether there was one."""
    with transaction.atomic():
        devices = list(devices_for_user(user, confirmed=None))
        for device in devices:
            device.delete()
        if devices:
            _record("user.second_factor_remove", user, actor_of(by))
    return bool(devices)


def _unconfirmed(user: User) -> "QuerySet[TOTPDevice]":
    return TOTPDevice.objects.filter(user=user, confirmed=False)


def _record(verb: str, user: User, by: Actor) -> None:
    record(verb, by=by, subject_kind="user", subject_id=str(user.pk), org_id=user.org_id)
