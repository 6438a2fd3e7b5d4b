"""Password reset by a link that can be used once.

The link is sent by email if the deployment has it, else an admin hands it out. The token is Django's: an
HMAC over the person, their password, their last login and the time. Using it, signing in or changing the
password therefore ends it. The answer and the work behind it are the same whether or not an address has an
account.
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
    """The link was used, has expired, or is not genuine."""


def ask_for_link(*, email: str, address: str) -> None:
    """Queues a link by mail, if there is such an account. Raises ApiError 429 over the limits.

    The worker looks the address up, so that the response time does not reveal whether there is an account.
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
    with suppress(AlreadyEnqueued), transaction.atomic():  # already queued
        app.configure_task(MAIL_TASK, queueing_lock=f"{MAIL_TASK} {to}").defer(email=to)


def mail_link(*, email: str) -> bool:
    """Sends the link. Returns False if no active account has the address. Called by the worker."""
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
    """A link for an admin to hand out. Raises LinkInvalid for a deactivated person."""
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
    """The full URL, valid for settings.PASSWORD_RESET_TIMEOUT seconds and one use."""
    who = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("accounts:reset", args=[who, default_token_generator.make_token(user)])
    return f"{settings.BASE_URL}{path}"


def person_of(who: str, token: str) -> User:
    """The person to whom the link belongs. Raises LinkInvalid."""
    try:
        user = User.objects.filter(pk=force_str(urlsafe_base64_decode(who)), is_active=True).first()
    except (ValueError, ValidationError):
        user = None
    if user is None or not default_token_generator.check_token(user, token):
        raise LinkInvalid
    return user


def use_link(*, who: str, token: str, new: str, at: datetime) -> User:
    """Sets the new password and ends every login of the person. Raises LinkInvalid."""
    person_of(who, token)  # an invalid link must not cost a password hash
    hashed = make_password(new)
    with transaction.atomic():
        seen = person_of(who, token)
        user = sessions.locked_users().filter(pk=seen.pk, password=seen.password, is_active=True).first()
        if user is None:  # the same link was used concurrently
            raise LinkInvalid
        store_password(user, hashed, by=actor_of(user), at=at, verb="user.password_reset")
    return user
