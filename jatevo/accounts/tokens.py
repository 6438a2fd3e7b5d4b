"""The two JWTs: signing and reading them, over djangorestframework-simplejwt's token classes (HS256).

An access token names a user and the login (family) that it came from. A refresh token names a row of
RefreshSession and is a pure function of that row: signing it twice gives the same bytes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from django.conf import settings
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from jatevo.accounts.models import RefreshSession

LONGEST: Final = 2048  # characters; ours are under 400
T = TypeVar("T", bound=Token)


@dataclass(frozen=True)
class AccessClaims:
    """The claims of a genuine, unexpired access token."""

    user_id: UUID
    family: UUID


def sign_access(*, user_id: UUID, family: UUID, at: datetime) -> str:
    """An access token that lives for settings.ACCESS_TOKEN_TTL from `at`."""
    token = AccessToken()
    token.set_iat(at_time=at)
    token.set_exp(from_time=at, lifetime=settings.ACCESS_TOKEN_TTL)
    token["user_id"] = str(user_id)
    token["family"] = str(family)
    return str(token)


def sign_refresh(session: RefreshSession) -> str:
    """The refresh token of the row: the same bytes each time."""
    token = RefreshToken()
    token.set_iat(at_time=session.issued_at)
    token.set_exp(from_time=session.expires_at, lifetime=timedelta(0))
    token["jti"] = str(session.pk)
    token["user_id"] = str(session.user_id)
    return str(token)


def read_access(text: str) -> AccessClaims | None:
    """The claims, or None if the text is not an access token of ours or has expired. Costs no query."""
    token = _read(AccessToken, text)
    if token is None:
        return None
    try:
        return AccessClaims(user_id=UUID(str(token["user_id"])), family=UUID(str(token["family"])))
    except (KeyError, ValueError):
        return None


def read_refresh(text: str) -> UUID | None:
    """The id of the RefreshSession, or None if the text is not a refresh token of ours or has expired."""
    token = _read(RefreshToken, text)
    if token is None:
        return None
    try:
        return UUID(str(token["jti"]))
    except ValueError:
        return None


def _read(kind: type[T], text: str) -> T | None:
    # PyJWT parses the header before it checks the signature. Genuine headers are always the same, so this
    # comparison keeps PyJWT from parsing untrusted JSON.
    if len(text) > LONGEST or not text.startswith(_header()):
        return None
    try:
        return kind(cast(Any, text))  # annotated as a Token there, but it takes the encoded one
    except TokenError:
        return None


@cache
def _header() -> str:
    return str(AccessToken()).partition(".")[0] + "."
