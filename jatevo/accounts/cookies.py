"""The two login cookies: HttpOnly, SameSite=Lax, Secure over TLS.

Both are sent to every path, since any page may refresh the login.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from jatevo.accounts.sessions import SignedIn, family_of
from jatevo.accounts.tokens import read_access

ACCESS: Final = "jatevo_access"
REFRESH: Final = "jatevo_refresh"


def set_login(response: HttpResponseBase, signed_in: SignedIn, *, at: datetime) -> None:
    """Sets both cookies. Each lives as long as its token."""
    _set(response, ACCESS, signed_in.access, int(settings.ACCESS_TOKEN_TTL.total_seconds()))
    _set(response, REFRESH, signed_in.refresh, int((signed_in.refresh_expires_at - at).total_seconds()))


def clear_login(response: HttpResponseBase) -> None:
    """Deletes both cookies."""
    for name in (ACCESS, REFRESH):
        response.delete_cookie(name, path="/", samesite="Lax")


def touched(response: HttpResponseBase) -> bool:
    """Whether a view has set or deleted the cookies itself."""
    return ACCESS in response.cookies or REFRESH in response.cookies


def family_in(request: HttpRequest) -> UUID | None:
    """The login that the request's cookies belong to, also when the access token has expired."""
    family = family_of(request.COOKIES.get(REFRESH, ""))
    if family is not None:
        return family
    claims = read_access(request.COOKIES.get(ACCESS, ""))
    return claims.family if claims else None


def _set(response: HttpResponseBase, name: str, value: str, max_age_seconds: int) -> None:
    response.set_cookie(
        name, value, max_age=max_age_seconds, path="/", secure=settings.SECURE, httponly=True, samesite="Lax"
    )
