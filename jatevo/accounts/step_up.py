"""Asks for the password (and the second factor) again before actions that a stolen session must not allow.

Proof holds for fifteen minutes. It is a signed cookie for one person, their present password and one login, so
it ends with the logout, with a new password and on other devices.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Concatenate, Final, ParamSpec
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters

from jatevo.accounts.actions import (
    OneTimePasswordRequired,
    WrongCredentials,
    has_second_factor,
    prove_identity,
)
from jatevo.accounts.cookies import family_in
from jatevo.accounts.forms import IdentityForm
from jatevo.accounts.login_limits import refusal_words
from jatevo.accounts.models import User
from jatevo.accounts.permissions import user_of
from jatevo.audit.record import actor_of, record
from jatevo.web.address import client_address
from jatevo.web.errors import ApiError

COOKIE: Final = "jatevo_identity"
LIFETIME: Final = timedelta(minutes=15)
_LONGEST: Final = 300  # characters; ours are under 200
_SECRETS: Final = ("identity-current", "identity-otp")

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def identity_confirmed(request: HttpRequest, *, at: datetime) -> bool:
    """Whether the signed-in person has confirmed their identity in this login within the last 15 minutes."""
    family, text = family_in(request), request.COOKIES.get(COOKIE, "")
    if family is None or not text or len(text) > _LONGEST:
        return False
    try:
        confirmed_at = datetime.fromtimestamp(signing.loads(text, salt=_salt(user_of(request), family)), UTC)
    except (signing.BadSignature, TypeError, ValueError, OverflowError, OSError):
        return False
    return at - LIFETIME <= confirmed_at <= at + timedelta(seconds=60)  # two web hosts' clocks may differ


def confirm_identity(request: HttpRequest, form: IdentityForm, *, at: datetime) -> bool:
    """Whether the form proves who the person is. If not, the form says why.

    Raises nothing: over the limits of signing in, the form says when to try again.
    """
    if not form.is_valid():
        return False
    user = user_of(request)
    try:
        prove_identity(
            by=user,
            password=form.cleaned_data["current"],
            otp=form.cleaned_data.get("otp", ""),
            address=client_address(request),
            at=at,
        )
    except OneTimePasswordRequired:  # set up since the form was shown
        form.add_error(None, "Enter the code from your authenticator app, and your password again.")
        return False
    except WrongCredentials:
        form.add_error(
            None, "The password or the code is wrong." if "otp" in form.fields else "The password is wrong."
        )
        return False
    except ApiError as refused:
        form.add_error(None, refusal_words(refused))
        return False
    with transaction.atomic():
        record(
            "session.identity_confirmed",
            by=actor_of(user),
            subject_kind="user",
            subject_id=str(user.pk),
            address=client_address(request),
            page=request.path_info,
        )
    return True


def identity_form(request: HttpRequest) -> IdentityForm:
    """The form for the person: filled in if the request has it, else empty."""
    filled = request.POST if _SECRETS[0] in request.POST else None
    return IdentityForm(filled, asks_for_code=has_second_factor(user_of(request)))


def remember_identity(response: HttpResponseBase, request: HttpRequest, *, at: datetime) -> None:
    """Sets the cookie on the answer to a person who has just confirmed their identity."""
    family = family_in(request)
    if family is None:  # signed in by other means than the cookies, so there is no login to bind it to
        return
    response.set_cookie(
        COOKIE,
        signing.dumps(at.timestamp(), salt=_salt(user_of(request), family)),
        max_age=LIFETIME,
        path="/",
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )


def forget_identity(response: HttpResponseBase) -> None:
    """Deletes the cookie."""
    response.delete_cookie(COOKIE, path="/", samesite="Lax")


def step_up_required(view: Page[P]) -> Page[P]:
    """Decorates a view whose POST needs a confirmed identity. Belongs below `require`.

    If it is not confirmed, the answer is a form for the password that keeps what was sent, and sends it again
    with the password. So nothing that was entered is lost.
    """

    @wraps(view)
    @sensitive_post_parameters(*_SECRETS)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        at = timezone.now()
        if request.method != "POST" or identity_confirmed(request, at=at):
            return view(request, *args, **kwargs)
        form = identity_form(request)
        if not (form.is_bound and confirm_identity(request, form, at=at)):
            return _ask(request, form)
        response = view(request, *args, **kwargs)
        remember_identity(response, request, at=at)
        return response

    return guarded


def _ask(request: HttpRequest, form: IdentityForm) -> HttpResponse:
    sent = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in (*_SECRETS, "csrfmiddlewaretoken")
        for value in values
    ]
    response = render(
        request,
        "accounts/confirm.html",
        {"form": form, "sent": sent, "action": request.get_full_path(), "next": _page_before(request)},
        status=422 if form.errors else 403,
    )
    add_never_cache_headers(response)
    return response


def _page_before(request: HttpRequest) -> str:
    """The page of this site that the person came from, for Cancel. Else the Overview."""
    before = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(
        before, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return before
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def _salt(user: User, family: UUID) -> str:
    """Changes with the person, the login and the password."""
    return f"jatevo.identity:{user.pk}:{family}:{user.get_session_auth_hash()}"
