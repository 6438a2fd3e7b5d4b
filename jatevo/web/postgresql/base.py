"""The backend: Django's, with bounded connections from one pool for each kind of work."""

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from jatevo.telemetry.metrics import QueriedStore
from jatevo.telemetry.statements import observing
from jatevo.web.postgresql.budgets import current_work
from jatevo.web.postgresql.connections import REPLICA_ALIAS, BoundedConnection, ReplicaConnection
from jatevo.web.postgresql.observing import observed
from jatevo.web.postgresql.pool import BoundedPool

_pools: dict[tuple[str, str], BoundedPool] = {}
_pools_lock = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """Gives each connection the limits of the work that it is for (budgets.py).

    Connections of requests and jobs come from pools and return at the end of the request or job, because
    CONN_MAX_AGE is 0. A command's connection has no pool and lasts as long as its thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(observed)

    @property
    def pool(self) -> BoundedPool | None:
        """The pool of the present connection or, without a connection, of the next one."""
        if self.connection is not None:
            lent_by: BoundedPool | None = getattr(self.connection, "_pool", None)
            return lent_by
        work = current_work()
        if self.alias == NO_DB_ALIAS or work.pool_seconds is None:
            return None
        key = (self.alias, work.name)
        with _pools_lock:
            if key not in _pools:
                _pools[key] = BoundedPool(
                    work,
                    size=settings.DATABASE_POOL_SIZE,
                    kwargs={**self.get_connection_params(), "autocommit": True},
                    configure=self._configure_connection,  # type: ignore[attr-defined]  # not in the stubs
                    connection_class=ReplicaConnection if self.alias == REPLICA_ALIAS else BoundedConnection,
                )
            return _pools[key]

    def close_pool(self) -> None:
        with _pools_lock:
            own = [key for key in _pools if key[0] == self.alias]
            closed = [_pools.pop(key) for key in own]
        for pool in closed:
            pool.close()

    @property
    def next_shares_session(self) -> bool:
        """Whether a connection for the current kind of work goes through a pooler in transaction mode (pooling.py)."""
        return bool(self.settings_dict.get("DIRECT")) and not current_work().needs_session

    @property
    def shares_session(self) -> bool:
        """The same of the present connection. The kind of work may be another by now: a body that is streamed."""
        if self.connection is None:
            return self.next_shares_session
        lent_by = self.pool
        direct = self.settings_dict.get("DIRECT")
        return bool(direct) and lent_by is not None and not lent_by.work.needs_session

    def get_connection_params(self) -> dict[str, Any]:
        if self.next_shares_session:
            params: dict[str, Any] = super().get_connection_params()
            params.pop("options", None)  # a pooler passes none on: the limits are those of the role
        else:
            with self._direct():
                params = super().get_connection_params()
            options = [current_work().server_options, str(params.get("options", ""))]
            params["options"] = " ".join(filter(None, options))  # those of DATABASE_URL take precedence
        return params

    @contextmanager
    def _direct(self) -> Iterator[None]:
        """The settings of the server itself, if the others are those of a pooler."""
        kept, direct = self.settings_dict, self.settings_dict.get("DIRECT")
        if direct:
            own = {name: direct.get(name, "") for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
            options = {**kept["OPTIONS"], **direct.get("OPTIONS", {})}
            self.settings_dict = {**kept, **own, "OPTIONS": options}
        try:
            yield
        finally:
            self.settings_dict = kept

    def chunked_cursor(self) -> Any:
        # Outside of a transaction, a server-side cursor belongs to the session.
        if self.shares_session and not self.in_atomic_block:
            return self.cursor()
        return super().chunked_cursor()

    def ensure_connection(self) -> None:
        # A closed connection is replaced at the next query. Django only does so at the end of a request, and
        # threads outside of requests never get there.
        self._drop_dead_connection()
        super().ensure_connection()

    def close_if_unusable_or_obsolete(self) -> None:
        # Done before Django's own check, in which ensure_connection() would make a new connection.
        self._drop_dead_connection()
        super().close_if_unusable_or_obsolete()

    def _set_autocommit(self, autocommit: bool) -> None:
        # Django sets it for each connection from a pool. psycopg would wait for nothing then.
        if self.connection.autocommit != autocommit:
            super()._set_autocommit(autocommit)  # type: ignore[misc]  # not in the stubs

    def _commit(self) -> None:
        with observing(QueriedStore.POSTGRESQL, "commit", "COMMIT"):
            super()._commit()  # type: ignore[misc]  # not in the stubs

    def _drop_dead_connection(self) -> None:
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            with suppress(self.Database.Error):
                self.close()
            self.connection = None


def close_pools() -> None:
    """Closes idle connections before the process ends."""
    with _pools_lock:
        closed = list(_pools.values())
        _pools.clear()
    for pool in closed:
        pool.close(timeout=1.0)


atexit.register(close_pools)
