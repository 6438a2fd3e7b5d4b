"""Django's `migrate`, which a console that is serving does not notice.

While a migration waits for the lock of a table, every later statement on that table waits behind it. So a migration
waits for less time than any request would, gives way, and is tried again. One that is not atomic builds or drops
indexes concurrently: nothing waits behind it, and giving up would leave an invalid index. It waits for minutes.
"""

import random
import time
from typing import Any, Final

import psycopg
from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from django.db.migrations import Migration

LOCK_SECONDS: Final = 0.5  # requests of machines wait for a lock for 1 s (jatevo/web/postgresql/budgets.py)
CONCURRENT_LOCK_SECONDS: Final = 600.0
PATIENCE_SECONDS: Final = 900.0  # a transaction of the worker takes minutes at most
PAUSE_SECONDS: Final = (1.0, 3.0)  # those that had to wait catch up meanwhile


class Command(migrate.Command):
    """Tries a migration again that did not get its locks. It has changed nothing then."""

    _connection_alias = ""
    _migration: Migration | None = None

    def handle(self, *args: Any, **options: Any) -> None:
        self._connection_alias = options["database"]
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                super().handle(*args, **options)
                self._limit_locks(None)
                return
            except OperationalError as error:
                if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                    raise
                if self._migration is not None and not self._migration.atomic:
                    raise CommandError(
                        f"{self._migration} waited {CONCURRENT_LOCK_SECONDS:.0f} s for older transactions, in vain. End "
                        "them, drop the invalid index that it may have left (docs/operations.md), and run the command "
                        "again."
                    ) from error
                if time.monotonic() > give_up_at:
                    raise CommandError(
                        f"{self._migration} did not get its locks within {PATIENCE_SECONDS:.0f} s. Find the "
                        "transaction that holds them in pg_stat_activity, end it, and run the command again."
                    ) from error
                self.stderr.write(f"{self._migration} waits for other transactions and is tried again.")
            time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - no secret

    def migration_progress_callback(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        if action in ("apply_start", "unapply_start") and migration is not None:
            self._migration = migration
            self._limit_locks(LOCK_SECONDS if migration.atomic else CONCURRENT_LOCK_SECONDS)
        super().migration_progress_callback(action, migration, fake)

    def _limit_locks(self, seconds: float | None) -> None:
        """None is the limit of commands again, for what the process does next."""
        with connections[self._connection_alias].cursor() as cursor:
            if seconds is None:
                cursor.execute("RESET lock_timeout")
            else:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [str(int(seconds * 1000))])
