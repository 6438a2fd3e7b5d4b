"""Signing in and out, passwords, and changes that admins make to people."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import QuerySet
from django_otp import devices_for_user, match_token

from jatevo.accounts import sessions
from jatevo.accounts.devices import known_device
from jatevo.accounts.login_limits import count_attempt
from jatevo.accounts.models import Role, User
from jatevo.accounts.sessions import SignedIn
from jatevo.accounts.standing import end_what_derives, lost_standing
from jatevo.audit.record import SYSTEM, Actor, actor_of, record
from jatevo.web.time_zones import zone_named

LONGEST_EMAIL_KEPT = 320


class WrongCredentials(Exception):
    """Unknown email, wrong password, wrong one-time password or inactive user.

    The message does not say which.
    """


class LastAdmin(Exception):
    """The change would leave the console without an admin."""


class UnknownTimeZone(Exception):
    """There is no time zone of that name to choose."""


class OneTimePasswordRequired(Exception):
    """The password was right, but the account needs a one-time password too."""


def sign_in(*, email: str, password: str, otp: str, address: str, at: datetime, device: str = "") -> SignedIn:
    """Checks the credentials and opens a session. `device` is the text of the browser's device cookie.

    Raises WrongCredentials, OneTimePasswordRequired, ApiError 429 over the limits of the address and the
    account (or of a known device), and ApiError 503 if too many passwords are being checked at once.
    """
    count_attempt(email=email, address=address, at=at, known_as=known_device(device, email=email))
    user = _proven(email, password)
    if user is None:
        _record_failure(email, address, verb="session.login_failed")
        raise WrongCredentials
    if has_second_factor(user):
        if not otp:
            _record_failure(email, address, verb="session.otp_asked", user=user)
            raise OneTimePasswordRequired
        if match_token(user, otp) is None:
            _record_failure(email, address, verb="session.otp_failed", user=user)
            raise WrongCredentials
    signed_in = _open_session(user, address, at)
    if signed_in is None:  # deactivated, or the password was changed, during the check
        _record_failure(email, address, verb="session.login_failed")
        raise WrongCredentials
    return signed_in


def sign_out(*, family: UUID, at: datetime) -> None:
    """Ends the login. Doing so again has no effect."""
    with transaction.atomic():
        user = sessions.revoke_family(family, at=at)
        if user is not None:
            record("session.logout", by=actor_of(user), subject_kind="user", subject_id=str(user.pk))


def change_password(*, by: User, current: str, new: str, address: str, at: datetime) -> SignedIn:
    """Changes the person's own password, ends all logins, and opens a new one for this browser.

    Raises WrongCredentials if `current` is wrong, and ApiError 429 over the limits of signing in.
    """
    prove_password(by=by, password=current, address=address, at=at)
    hashed = make_password(new)  # before the row is locked, because it is slow
    with transaction.atomic():
        user = _still_proven(by)
        if user is None:
            raise WrongCredentials
        store_password(user, hashed, by=actor_of(user), at=at)
        return sessions.start(user=user, at=at)


def prove_password(*, by: User, password: str, address: str, at: datetime) -> None:
    """Checks the signed-in person's password again. Raises WrongCredentials, and ApiError 429 and 503."""
    count_attempt(email=by.email, address=address, at=at, known_as=f"user {by.pk}")
    if not by.check_password(password):
        _record_failure(by.email, address, verb="user.password_wrong", user=by)
        raise WrongCredentials


def prove_identity(*, by: User, password: str, otp: str, address: str, at: datetime) -> None:
    """Checks the signed-in person's password, and their one-time password if they have a second factor.

    Raises WrongCredentials, OneTimePasswordRequired, and ApiError 429 and 503.
    """
    prove_password(by=by, password=password, address=address, at=at)
    if not has_second_factor(by):
        return
    if not otp:
        raise OneTimePasswordRequired
    if match_token(by, otp) is None:
        _record_failure(by.email, address, verb="user.otp_wrong", user=by)
        raise WrongCredentials


def reset_password(*, user: User, new: str, by: User, at: datetime) -> None:
    """Sets a new password for another person, as an admin. All logins of that person end."""
    hashed = make_password(new)
    with transaction.atomic():
        store_password(user, hashed, by=actor_of(by), at=at)


def create_user(*, by: User | None, password: str | None = None, **fields: Any) -> tuple[User, str]:
    """Creates a person.

    Returns them with their password, which is random if none is given. Raises ValidationError.

    `by` is None if nobody is signed in, as on the command line or for the seed.
    """
    password = password or secrets.token_urlsafe(15)
    with transaction.atomic():
        user = User.objects.create_user(password=password, **fields)
        record_new_user(user=user, by=by)
    return user, password


def record_new_user(*, user: User, by: User | None) -> None:
    """Writes the audit row of a new person. Must run in the transaction that adds them."""
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
    """Saves an admin's changes to a person. `changes` maps fields to (old, new), for the audit row.

    A new role or organisation takes effect at once, because each request loads the user. Whatever the person
    created and may no longer have (jatevo/accounts/standing.py) ends. Raises LastAdmin.
    """
    with transaction.atomic():
        before = _locked_for_change(user)
        if before.is_active and before.is_admin and not (user.is_active and user.is_admin):
            _require_another_admin(user)
        user.save()
        if lost_standing(before, user):
            end_what_derives(user, by=actor_of(by), at=at)
        record(
            "user.change",
            by=actor_of(by),
            subject_kind="user",
            subject_id=str(user.pk),
            org_id=user.org_id,
            changes={field: list(pair) for field, pair in changes.items()},
        )


def set_time_zone(*, by: User, name: str) -> None:
    """Sets the zone in which pages and exports show times to this person. Raises UnknownTimeZone."""
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


def _locked_for_change(user: User) -> User:
    """The stored person, locked.

    For an admin, all admins are locked in order, so that two cannot demote each other.
    """
    list(_active_admins().select_for_update(no_key=True).values_list("pk", flat=True))
    return sessions.locked_users().get(pk=user.pk)


def _require_another_admin(leaving: User) -> None:
    if not _active_admins().exclude(pk=leaving.pk).exists():
        raise LastAdmin("This is the last active admin. Make someone else an admin first.")


def _active_admins() -> QuerySet[User]:
    return User.objects.filter(role=Role.ADMIN, is_active=True).order_by("pk")


def _proven(email: str, password: str) -> User | None:
    """The active user with that email and password. It always takes the time of one password hash."""
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        make_password(password)
        return None
    right = user.check_password(password)
    return user if right and user.is_active else None


def has_second_factor(user: User) -> bool:
    """Whether signing in asks for a code."""
    return any(True for _ in devices_for_user(user))  # only confirmed ones


def _still_proven(user: User) -> User | None:
    """The user, locked. None if they were deactivated or their password was changed during the check."""
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


def _record_failure(email: str, address: str, *, verb: str, user: User | None = None) -> None:
    """Writes the audit row of a failed attempt.

    `user` is set only if the password was right or they are signed in. Otherwise the row would reveal who
    exists.
    """
    with transaction.atomic():
        record(
            verb,
            by=Actor("anonymous", address[:64]),
            subject_kind="user" if user else "login",
            subject_id=str(user.pk) if user else email[:160],
            org_id=user.org_id if user else None,
            email=email[:LONGEST_EMAIL_KEPT],
        )


def store_password(
    user: User, hashed: str, *, by: Actor, at: datetime, verb: str = "user.password_change"
) -> None:
    """Stores the new hash and ends all logins, in a transaction that has locked the person."""
    user.password = hashed
    user.save(update_fields=["password"])
    sessions.revoke_all(user, at=at)
    record(verb, by=by, subject_kind="user", subject_id=str(user.pk), org_id=user.org_id)
