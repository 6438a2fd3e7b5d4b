"""A forgotten password: a link of one use sets a new one.

It comes by e-mail where the deployment has that, else from an admin. The token is Django's: an HMAC over the
person, their password, their last login and the time, so that using it, signing in or changing the password
ends it. Nobody is told whether an address has an account: the answer is the same, the work behind it too.
"""

from contextlib import suppress
from datetime import datetime
from typing import Final

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.encoding import force_bytes, force_str
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued

from jatevo.accounts import sessions
from jatevo.accounts.actions import LONGEST_EMAIL_KEPT, store_password
from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, Actor, actor_of, record
from jatevo.web.throttling import hit

MAIL_TASK: Final = "accounts.mail_reset_link"  # in tasks.py
SUBJECT: Final = "Set a new password for the Jatevo console"


class LinkInvalid(Exception):
    """The link is used up, has expired, or never was one of ours."""


def ask_for_link(*, email: str, address: str) -> None:
    """Has a link mailed, if there is such an account. Raises ApiError 429 over the limits.

    The address is looked up by the worker, so that the time of the answer tells nothing.
    """
    hit("reset_address", address)
    hit("reset_account", email.strip().lower())
    with transaction.atomic():
        record(
            "password.reset_asked",
            by=Actor("anonymous", address[:64]),
            subject_kind="login",
            subject_id=email[:160],
            email=email[:LONGEST_EMAIL_KEPT],
        )
    to = email.strip().lower()
    with suppress(AlreadyEnqueued), transaction.atomic():  # then it is on its way
        app.configure_task(MAIL_TASK, queueing_lock=f"{MAIL_TASK} {to}").defer(email=to)


def mail_link(*, email: str) -> bool:
    """Sends the link; False if no active account has the address. For the worker."""
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None:
        return False
    context = {"link": link_for(user), "minutes": settings.PASSWORD_RESET_TIMEOUT // 60}
    send_mail(SUBJECT, render_to_string("accounts/reset_mail.txt", context), None, [user.email])
    with transaction.atomic():
        record(
            "password.reset_mailed",
            by=SYSTEM,
            subject_kind="user",
            subject_id=str(user.pk),
            org_id=user.org_id,
        )
    return True


def hand_out_link(*, user: User, by: User) -> str:
    """A link for an admin to hand over. Raises LinkInvalid for a deactivated person."""
    if not user.is_active:
        raise LinkInvalid
    with transaction.atomic():
        record(
            "password.reset_handed_out",
            by=actor_of(by),
            subject_kind="user",
            subject_id=str(user.pk),
            org_id=user.org_id,
            email=user.email,
        )
    return link_for(user)


def link_for(user: User) -> str:
    """The whole address, good for settings.PASSWORD_RESET_TIMEOUT seconds and one use."""
    who = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("accounts:reset", args=[who, default_token_generator.make_token(user)])
    return f"{settings.BASE_URL}{path}"


def person_of(who: str, token: str) -> User:
    """Whose link it is. Raises LinkInvalid."""
    try:
        user = User.objects.filter(pk=force_str(urlsafe_base64_decode(who)), is_active=True).first()
    except (ValueError, ValidationError):
        user = None
    if user is None or not default_token_generator.check_token(user, token):
        raise LinkInvalid
    return user


def use_link(*, who: str, token: str, new: str, at: datetime) -> User:
    """Sets the new password and ends every login of the person. Raises LinkInvalid."""
    person_of(who, token)  # a stranger's guess is not worth a hash
    hashed = make_password(new)
    with transaction.atomic():
        seen = person_of(who, token)
        user = sessions.locked_users().filter(pk=seen.pk, password=seen.password, is_active=True).first()
        if user is None:  # another use of the same link was faster
            raise LinkInvalid
        store_password(user, hashed, by=actor_of(user), at=at, verb="user.password_reset")
    return user
