"""PgBouncer in transaction mode: what goes through it and what does not.

With it, a session of PostgreSQL is lent to a client for a transaction. Whatever else a session keeps, such as settings,
LISTEN, advisory locks, temporary tables, prepared statements and cursors outside of a transaction, would then reach
another client or get lost. Requests keep nothing there. Work that `needs_session` (budgets.py) takes DATABASE_DIRECT_URL.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

import psycopg

_LOOKS: Final = 10


class SharedSession(Exception):
    """A connection that needs a session of its own goes through a pooler in transaction mode."""

    def __init__(self) -> None:
        super().__init__(
            "The worker and migrations reach PostgreSQL through a pooler in transaction mode, where notifications, "
            "locks and settings of a session get lost. Set DATABASE_DIRECT_URL to PostgreSQL itself. DATABASE_URL may "
            "stay the pooler's."
        )


def refuse_shared_session(params: Mapping[str, Any]) -> None:
    """Raises SharedSession if two open connections meet in one session of PostgreSQL, or OperationalError.

    A pooler in transaction mode lends the session that was returned last, so two clients that take turns meet in it. On
    a busy one others may come between, hence several looks.
    """
    # A pooler may refuse options. Here they make no difference.
    given = {**params, "options": "", "autocommit": True, "prepare_threshold": None}
    with closing(psycopg.connect(**given)) as one, closing(psycopg.connect(**given)) as other:
        for _ in range(_LOOKS):
            if _session(one) == _session(other):
                raise SharedSession


def _session(connection: "psycopg.Connection[Any]") -> Any:
    ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return pid
