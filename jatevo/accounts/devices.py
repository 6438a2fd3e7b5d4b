"""Known devices: a browser in which a person has signed in is not locked out by other people's wrong guesses.

The cookie is a random id, signed for one person and their current password. It only gives the browser its own
rate limit. Signing in still needs the password (and the code). It does not contain the person's identity, so
it can stay in the browser after signing out.
"""

import secrets
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from jatevo.accounts.models import User

COOKIE: Final = "jatevo_device"
LIFETIME: Final = timedelta(days=90)  # since the last sign-in in that browser
_LONGEST: Final = 200  # characters; ours are under 100


def remember_device(response: HttpResponseBase, user: User) -> None:
    """Makes this browser a known device of the person. Called after they have signed in."""
    text = signing.dumps(secrets.token_urlsafe(12), salt=_salt(user))
    response.set_cookie(
        COOKIE,
        text,
        max_age=LIFETIME,
        path="/",
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )


def device_in(request: HttpRequest) -> str:
    """The text of the cookie, unverified."""
    return request.COOKIES.get(COOKIE, "")


def known_device(text: str, *, email: str) -> str:
    """The id of the device, if it is a known device of this person. '' if not, or if the cookie has expired.

    Without a cookie it costs no query.
    """
    if not text or len(text) > _LONGEST:
        return ""
    user = User.objects.filter(email=email.strip().lower(), is_active=True).first()
    if user is None:
        return ""
    try:
        return str(signing.loads(text, salt=_salt(user), max_age=LIFETIME))
    except signing.BadSignature:
        return ""


def _salt(user: User) -> str:
    """The signing salt, which changes with the password."""
    return f"jatevo.device:{user.pk}:{user.get_session_auth_hash()}"
