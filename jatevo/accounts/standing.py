"""What ends when a person is deactivated, demoted or moved to another organisation.

Sessions are ended here. Other apps end what people created or were granted there (enrolments, grants of
nodes): their modules `endings` register functions, which `autodiscover` finds.
"""

from datetime import datetime
from typing import Final, Protocol

from jatevo.accounts import sessions
from jatevo.accounts.models import Role, User
from jatevo.audit.record import Actor

_RANK: Final = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}


class Ending(Protocol):
    """Ends what the person created, with its own audit row, in the transaction of the change."""

    def __call__(self, user: User, *, by: Actor, at: datetime) -> None: ...


_endings: list[Ending] = []


def ends_with_its_maker(ending: Ending) -> Ending:
    """A decorator that registers an ending."""
    _endings.append(ending)
    return ending


def lost_standing(before: User, after: User) -> bool:
    """Whether the person has fewer permissions than before, or another organisation."""
    if not before.is_active:
        return False
    demoted = _RANK[Role(after.role)] < _RANK[Role(before.role)]
    return not after.is_active or demoted or after.org_id != before.org_id


def end_what_derives(user: User, *, by: Actor, at: datetime) -> None:
    """Runs all endings, in the transaction of the change."""
    if not user.is_active:
        sessions.revoke_all(user, at=at)
    for ending in _endings:
        ending(user, by=by, at=at)
