"""Signing in and out, passwords, and what an admin changes about a person."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django_otp import devices_for_user, match_token

from jatevo.accounts import sessions
from jatevo.accounts.login_limits import count_attempt
from jatevo.accounts.models import User
from jatevo.accounts.sessions import SignedIn
from jatevo.audit.record import SYSTEM, Actor, actor_of, record
from jatevo.web.time_zones import zone_named

LONGEST_EMAIL_KEPT = 320


class WrongCredentials(Exception):
    """Unknown e-mail, wrong password, wrong one-time password or inactive user: nobody is told which."""


class UnknownTimeZone(Exception):
    """Nobody can choose a time zone of that name."""


class OneTimePasswordRequired(Exception):
    """The password was right, and the account has a second factor."""


def sign_in(*, email: str, password: str, otp: str, address: str, at: datetime) -> SignedIn:
    """Checks the credentials and opens a session.

    Raises WrongCredentials, OneTimePasswordRequired, and ApiError 429 over the limits by address and account.
    """
    count_attempt(email=email, address=address, at=at)
    user = _proven(email, password)
    if user is not None and _has_second_factor(user):
        if not otp:
            raise OneTimePasswordRequired
        if match_token(user, otp) is None:
            user = None
    signed_in = _open_session(user, address, at) if user is not None else None
    if signed_in is None:
        _record_failure(email, address)
        raise WrongCredentials
    return signed_in


def sign_out(*, family: UUID, at: datetime) -> None:
    """Ends the login; doing it again does nothing."""
    with transaction.atomic():
        user = sessions.revoke_family(family, at=at)
        if user is not None:
            record("session.logout", by=actor_of(user), subject_kind="user", subject_id=str(user.pk))


def change_password(*, by: User, current: str, new: str, address: str, at: datetime) -> SignedIn:
    """Replaces one's own password, ends every login, and opens a new one for the browser that asked.

    Raises WrongCredentials if `current` is wrong, and ApiError 429 over the limits of signing in.
    """
    count_attempt(email=by.email, address=address, at=at)
    if not by.check_password(current):
        raise WrongCredentials
    with transaction.atomic():
        user = _still_proven(by)
        if user is None:
            raise WrongCredentials
        _store_password(user, new, by=actor_of(user), at=at)
        return sessions.start(user=user, at=at)


def reset_password(*, user: User, new: str, by: User, at: datetime) -> None:
    """An admin gives somebody a new password; all logins of that person end."""
    with transaction.atomic():
        _store_password(user, new, by=actor_of(by), at=at)


def create_user(*, by: User | None, password: str | None = None, **fields: Any) -> tuple[User, str]:
    """A new person and their password, a random one if none is given. Raises ValidationError.

    `by` is None when nobody is signed in: the command line, the seed.
    """
    password = password or secrets.token_urlsafe(15)
    with transaction.atomic():
        user = User.objects.create_user(password=password, **fields)
        record_new_user(user=user, by=by)
    return user, password


def record_new_user(*, user: User, by: User | None) -> None:
    """The audit row of a person added; call it in the transaction that adds them."""
    record(
        "user.create",
        by=actor_of(by) if by else SYSTEM,
        subject_kind="user",
        subject_id=str(user.pk),
        org_id=user.org_id,
        email=user.email,
        role=user.role,
    )


def save_user(*, user: User, changes: Mapping[str, tuple[str, str]], by: User, at: datetime) -> None:
    """Saves what an admin changed about a person, `changes` being field → (old, new) for the audit row.

    Roles and orgs act at once, since each request loads the user anew; a person deactivated is signed out.
    """
    with transaction.atomic():
        user.save()
        if not user.is_active:
            sessions.revoke_all(user, at=at)
        record(
            "user.change",
            by=actor_of(by),
            subject_kind="user",
            subject_id=str(user.pk),
            org_id=user.org_id,
            changes={field: list(pair) for field, pair in changes.items()},
        )


def set_time_zone(*, by: User, name: str) -> None:
    """The zone in which pages and exports show times to this person. Raises UnknownTimeZone."""
    if zone_named(name) is None:
        raise UnknownTimeZone(name)
    with transaction.atomic():
        User.objects.filter(pk=by.pk).update(time_zone=name)
        record(
            "user.time_zone",
            by=actor_of(by),
            subject_kind="user",
            subject_id=str(by.pk),
            org_id=by.org_id,
            time_zone=name,
        )


def _proven(email: str, password: str) -> User | None:
    """The active user with that e-mail and password. Takes one password hash's time in every case."""
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        make_password(password)
        return None
    right = user.check_password(password)
    return user if right and user.is_active else None


def _has_second_factor(user: User) -> bool:
    return any(True for _ in devices_for_user(user))  # the confirmed ones


def _still_proven(user: User) -> User | None:
    """The user, locked; None if deactivated or given another password while we checked the old one."""
    return sessions.locked_users().filter(pk=user.pk, is_active=True, password=user.password).first()


def _open_session(proven: User, address: str, at: datetime) -> SignedIn | None:
    with transaction.atomic():
        user = _still_proven(proven)
        if user is None:
            return None
        user.last_login = at
        user.save(update_fields=["last_login"])
        record(
            "session.login", by=actor_of(user), subject_kind="user", subject_id=str(user.pk), address=address
        )
        return sessions.start(user=user, at=at)


def _record_failure(email: str, address: str) -> None:
    with transaction.atomic():
        record(
            "session.login_failed",
            by=Actor("anonymous", address[:64]),
            subject_kind="login",
            subject_id=email[:160],
            email=email[:LONGEST_EMAIL_KEPT],
        )


def _store_password(user: User, new: str, *, by: Actor, at: datetime) -> None:
    user.set_password(new)
    user.save(update_fields=["password"])
    sessions.revoke_all(user, at=at)
    record("user.password_change", by=by, subject_kind="user", subject_id=str(user.pk), org_id=user.org_id)
