"""Refresh sessions: who is signed in, and for how long. The only writer of RefreshSession.

The user's row is the lock. Whatever starts, rotates or ends sessions takes it first, so that no new token can
be created in a login that is being ended. An UPDATE of the login's rows alone would miss such a token.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import QuerySet

from jatevo.accounts.models import LoginAttempt, Org, RefreshSession, User
from jatevo.accounts.tokens import AccessClaims, read_refresh, sign_access, sign_refresh
from jatevo.audit.record import SYSTEM, record
from jatevo.web.postgresql.statements import fetch

GRACE: Final = timedelta(seconds=60)  # how long a rotated token still yields its successor
KEPT_AFTER_EXPIRY: Final = timedelta(days=7)
ATTEMPTS_KEPT: Final = timedelta(days=1)  # longer than any login limit's window
PURGE_BATCH: Final = 5_000


class RefreshRefused(Exception):
    """The refresh token is unknown, expired, revoked or reused, or its user may not sign in."""


@dataclass(frozen=True)
class SignedIn:
    """A user with a fresh pair of tokens."""

    user: User
    access: str
    refresh: str
    refresh_expires_at: datetime


def start(*, user: User, at: datetime) -> SignedIn:
    """Starts a new login (family of tokens) for a user whose credentials were just checked."""
    session = RefreshSession.objects.create(
        family=uuid4(), user=user, issued_at=at, expires_at=at + settings.REFRESH_TOKEN_TTL
    )
    return _signed_in(user, session, at)


def rotate(refresh: str, *, at: datetime) -> SignedIn:
    """Exchanges a refresh token for its successor. Raises RefreshRefused.

    Of parallel requests with one token, a conditional UPDATE lets one create the successor. The others get
    the same successor, up to GRACE after the rotation. If a rotated token is used later, somebody has copied
    it, and its whole family is revoked.
    """
    session_id = read_refresh(refresh)
    if session_id is None:
        raise RefreshRefused
    with transaction.atomic():  # the refusal is raised outside, since it would roll back a revocation
        outcome = _rotate(session_id, at)
    if outcome is None:
        raise RefreshRefused
    user, session = outcome
    return _signed_in(user, session, at)


def current_user(claims: AccessClaims) -> User | None:
    """The user of an access token with their organisation, if they are active and the login has not ended.

    One query, which every page and every part of it begins with. Django takes longer to write it than PostgreSQL
    takes to answer it.
    """
    rows = fetch(_current_user_sql(), [claims.user_id, claims.family])
    if not rows:
        return None
    names, of_org = _attributes(User), _attributes(Org)
    user = User.from_db(DEFAULT_DB_ALIAS, names, rows[0][: len(names)])
    user.org = Org.from_db(DEFAULT_DB_ALIAS, of_org, rows[0][len(names) :]) if user.org_id else None
    return user


def family_of(refresh: str) -> UUID | None:
    """The login to which a refresh token belongs, even if it has ended."""
    session_id = read_refresh(refresh)
    if session_id is None:
        return None
    return RefreshSession.objects.filter(pk=session_id).values_list("family", flat=True).first()


def revoke_family(family: UUID, *, at: datetime) -> User | None:
    """Ends one login. Returns the user, or None if it had already ended."""
    with transaction.atomic():
        owner = RefreshSession.objects.filter(family=family).values("user")[:1]
        user = locked_users().filter(pk__in=owner).first()
        ended = RefreshSession.objects.filter(family=family, revoked_at=None).update(revoked_at=at)
    return user if ended else None


def revoke_all(user: User, *, at: datetime) -> int:
    """Ends all logins of the user. Returns how many tokens were revoked."""
    with transaction.atomic():
        locked_users().get(pk=user.pk)
        return RefreshSession.objects.filter(user=user, revoked_at=None).update(revoked_at=at)


def locked_users() -> QuerySet[User]:
    """Users with their rows locked until the end of the transaction that starts or ends sessions."""
    return User.objects.select_related("org").select_for_update(no_key=True, of=("self",))


def purge(*, at: datetime) -> int:
    """Deletes sessions that expired over a week ago and login attempts older than a day.

    Returns how many rows.
    """
    deleted = LoginAttempt.objects.filter(at__lt=at - ATTEMPTS_KEPT).delete()[0]
    expired = RefreshSession.objects.filter(expires_at__lt=at - KEPT_AFTER_EXPIRY)
    while batch := list(expired.values_list("pk", flat=True)[:PURGE_BATCH]):
        deleted += RefreshSession.objects.filter(pk__in=batch).delete()[0]
    return deleted


@cache
def _current_user_sql() -> str:
    columns = [f"u.{name}" for name in _attributes(User)] + [f"o.{name}" for name in _attributes(Org)]
    return f"""
        SELECT {", ".join(columns)}
        FROM {User._meta.db_table} u LEFT JOIN {Org._meta.db_table} o ON o.id = u.org_id
        WHERE u.id = %s AND u.is_active AND EXISTS (
            SELECT FROM {RefreshSession._meta.db_table} s WHERE s.family = %s AND s.revoked_at IS NULL)
    """  # noqa: S608 - constants


def _attributes(model: type[User] | type[Org]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _rotate(session_id: UUID, at: datetime) -> tuple[User, RefreshSession] | None:
    session = RefreshSession.objects.filter(pk=session_id).first()
    if session is None or not session.live(at):
        return None
    user = locked_users().filter(pk=session.user_id, is_active=True).first()
    if user is None:
        return None
    successor_id = uuid4()
    won = RefreshSession.objects.filter(pk=session_id, rotated_at=None, revoked_at=None).update(
        rotated_at=at, successor_id=successor_id
    )
    if won:  # the foreign key is checked at commit, so the successor may be inserted second
        successor = RefreshSession.objects.create(
            id=successor_id,
            family=session.family,
            user=user,
            issued_at=at,
            expires_at=at + settings.REFRESH_TOKEN_TTL,
        )
        return user, successor
    session.refresh_from_db()
    if session.revoked_at is not None or session.rotated_at is None:
        return None
    if at - session.rotated_at <= GRACE:
        return user, _newest(session)
    _end_stolen(session, user, at)
    return None


def _newest(session: RefreshSession) -> RefreshSession:
    """The last session of the chain, so that a slow request gets the token that is valid now."""
    while session.successor is not None:
        session = session.successor
    return session


def _end_stolen(session: RefreshSession, user: User, at: datetime) -> None:
    RefreshSession.objects.filter(family=session.family, revoked_at=None).update(revoked_at=at)
    record(
        "session.reuse_detected",
        by=SYSTEM,
        subject_kind="user",
        subject_id=str(user.pk),
        org_id=user.org_id,
        family=str(session.family),
    )


def _signed_in(user: User, session: RefreshSession, at: datetime) -> SignedIn:
    return SignedIn(
        user=user,
        access=sign_access(user_id=user.pk, family=session.family, at=at),
        refresh=sign_refresh(session),
        refresh_expires_at=session.expires_at,
    )
