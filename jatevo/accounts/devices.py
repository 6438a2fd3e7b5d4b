"""Known devices: a browser in which somebody has signed in is not locked out by strangers' wrong guesses.

The cookie is a random id, signed for one person and their present password. It says who may try again,
never who somebody is: without the password (and the code) it opens nothing. It names nobody, so it may stay
in the browser after signing out, which is when it is needed.
"""

import secrets
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from jatevo.accounts.models import User

COOKIE: Final = "jatevo_device"
LIFETIME: Final = timedelta(days=90)  # since the last time that somebody signed in there
_LONGEST: Final = 200  # characters; ours are under 100


def remember_device(response: HttpResponseBase, user: User) -> None:
    """Makes this browser one of the person's known devices; to be called once they have signed in."""
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
    """The cookie's text, unchecked."""
    return request.COOKIES.get(COOKIE, "")


def known_device(text: str, *, email: str) -> str:
    """The id of a device that this person is known to use; '' for any other, an expired or an old one.

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
    """Another one after each change of the password."""
    return f"jatevo.device:{user.pk}:{user.get_session_auth_hash()}"
