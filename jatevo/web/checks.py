"""System checks of PostgreSQL's connections, for `manage.py check --database default` and before migrations."""

from collections.abc import Sequence
from typing import Any, cast

import psycopg
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import OperationalError, connections

from jatevo.web.postgresql.base import DatabaseWrapper
from jatevo.web.postgresql.budgets import COMMAND, PAGE, working
from jatevo.web.postgresql.pooling import SharedSession, refuse_shared_session


@register(Tags.database)
def sessions_are_not_shared(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """An error if what needs a session goes through a pooler, and a warning if a pooler's role has no limits."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        try:
            found += _problems(cast("DatabaseWrapper", connections[alias]))
        except (psycopg.OperationalError, OperationalError):
            continue  # the command that needs it says so
    return found


def _problems(connection: DatabaseWrapper) -> list[CheckMessage]:
    with working(COMMAND):
        params = connection.get_connection_params()
    try:
        refuse_shared_session(params)
    except SharedSession as error:
        return [Error(str(error), id="web.E001")]
    with working(PAGE):
        if not connection.next_shares_session:
            return []
        params = connection.get_connection_params()
    with psycopg.connect(**params) as pooled:
        ((limit,),) = pooled.execute("SHOW statement_timeout").fetchall()
    if limit != "0":
        return []
    return [
        Warning(
            "Behind the pooler, statements of requests have no time limit in PostgreSQL.",
            hint=f"ALTER ROLE {params.get('user', 'jatevo')} SET statement_timeout = '5s'; likewise lock_timeout = "
            "'1s' and client_connection_check_interval = '1s'. See docs/operations.md.",
            id="web.W001",
        )
    ]
