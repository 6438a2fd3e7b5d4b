"""How long the sessions of a database wait for locks, sampled from PostgreSQL."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg

_SAMPLE_SECONDS = 0.02
# waitstart is when the wait began, so that a sample tells its length so far. A build that waits for older
# transactions waits for their ids.
_WAITS = """
SELECT a.pid, l.waitstart::text, l.locktype, left(a.query, 200),
       extract(epoch FROM clock_timestamp() - l.waitstart)::float
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.waitstart IS NOT NULL
"""
_OF_REQUESTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class LockWaits(threading.Thread):
    """Samples until ended. Waits are in seconds: of a migration's own statements, and of everybody else's."""

    def __init__(self, connect: Callable[[], "psycopg.Connection[Any]"]) -> None:
        super().__init__(name="lock waits", daemon=True)
        self.samples = 0
        self._connect = connect
        self._ending = threading.Event()
        self._longest: dict[tuple[int, str], tuple[str, float]] = {}

    def run(self) -> None:
        with self._connect() as connection:
            connection.autocommit = True
            while not self._ending.wait(_SAMPLE_SECONDS):
                self.samples += 1
                for pid, began, kind, query, seconds in connection.execute(_WAITS).fetchall():
                    self._longest[(pid, began)] = (f"{kind}: {' '.join(query.split())}", seconds)

    def end(self) -> None:
        self._ending.set()
        self.join(30)

    @property
    def of_requests(self) -> list[float]:
        return sorted(seconds for what, seconds in self._longest.values() if _is_of_a_request(what))

    @property
    def of_migrations(self) -> list[float]:
        return sorted(seconds for what, seconds in self._longest.values() if not _is_of_a_request(what))

    def longest(self, count: int = 5) -> list[str]:
        waits = sorted(self._longest.values(), key=lambda each: -each[1])[:count]
        return [f"{seconds:.2f} s {what[:80]}" for what, seconds in waits]


def _is_of_a_request(what: str) -> bool:
    return what.partition(": ")[2].upper().startswith(_OF_REQUESTS)
