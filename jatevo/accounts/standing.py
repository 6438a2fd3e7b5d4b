"""What derives from a person ends with their standing: when they are deactivated, demoted, or moved.

Sessions are ended here. Whatever an upper app lets people make in their own name (an enrolment token, a grant
to see a node) it ends itself: its module `endings` registers a function, found by `autodiscover`.
"""

from datetime import datetime
from typing import Final, Protocol

from jatevo.accounts import sessions
from jatevo.accounts.models import Role, User
from jatevo.audit.record import Actor

_RANK: Final = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}


class Ending(Protocol):
    """Ends what the person made, with an audit row of its own; runs in the transaction of the change."""

    def __call__(self, user: User, *, by: Actor, at: datetime) -> None: ...


_endings: list[Ending] = []


def ends_with_its_maker(ending: Ending) -> Ending:
    """Registers an ending; a decorator."""
    _endings.append(ending)
    return ending


def lost_standing(before: User, after: User) -> bool:
    """Whether the person may do less than before, or the same elsewhere."""
    if not before.is_active:
        return False
    demoted = _RANK[Role(after.role)] < _RANK[Role(before.role)]
    return not after.is_active or demoted or after.org_id != before.org_id


def end_what_derives(user: User, *, by: Actor, at: datetime) -> None:
    """For the transaction that takes the standing."""
    if not user.is_active:
        sessions.revoke_all(user, at=at)
    for ending in _endings:
        ending(user, by=by, at=at)
