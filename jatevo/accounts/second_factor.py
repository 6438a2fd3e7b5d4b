"""A person's second factor: an authenticator app (TOTP). Its secret is shown once, only to that person.

Setting it up needs the password and a correct code from the app. Admins can only remove it.
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
    """The code is wrong, or there is no device to confirm."""


def begin(*, by: User, password: str, address: str, at: datetime) -> TOTPDevice:
    """Creates an unconfirmed device, replacing an earlier unconfirmed one.

    Raises WrongCredentials and ApiError.
    """
    prove_password(by=by, password=password, address=address, at=at)
    with transaction.atomic():
        _unconfirmed(by).delete()
        _record("user.second_factor_begin", by, actor_of(by))
        return TOTPDevice.objects.create(user=by, name="authenticator app", confirmed=False)


def waiting(user: User) -> TOTPDevice | None:
    """The unconfirmed device of the person, if any."""
    return TOTPDevice.objects.filter(user=user, confirmed=False).first()


def confirm(*, by: User, code: str) -> None:
    """Confirms the device, so that signing in asks for a code.

    It replaces an earlier device. Raises WrongCode.
    """
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
    """Removes the person's own second factor. Raises WrongCredentials and ApiError."""
    prove_password(by=by, password=password, address=address, at=at)
    remove(user=by, by=by)


def remove(*, user: User, by: User) -> bool:
    """Removes all second factors of a person. Returns whether there was one."""
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
