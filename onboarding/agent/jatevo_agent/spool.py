"""Stores receipts in SQLite until the console has them. A crash at any moment loses none.

A receipt is in `spooled` from its completion until the console has accepted or refused it. The newest refused
receipts are kept in `refused`, with the reason.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

MOST_REFUSED_KEPT = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spooled (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    spooled_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS refused (
    seq INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL,
    body BLOB NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    refused_at REAL NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A waiting receipt. The oldest has the lowest `seq`. `body` is what will be sent."""

    seq: int
    request_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A receipt that the console refused for good, and why."""

    seq: int
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """How many receipts wait, were refused (only those still kept), and were ever completed here."""

    spooled: int
    refused: int
    completed_total: int


class SpoolClosed(Exception):
    """The agent is stopping."""


class Spool:
    """The spool of one running agent. Thread-safe. Raises sqlite3.Error if the disk fails."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = sqlite3.connect(
            path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        try:
            path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # In WAL mode, only FULL makes a commit survive a power cut.
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except BaseException:
            self._connection.close()
            raise

    def add(self, request_id: str, body: bytes) -> None:
        """Store a receipt on disk. Raises sqlite3.IntegrityError if the request id is already stored."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO spooled (request_id, body, spooled_at) VALUES (?, ?, ?)",
                (request_id, body, time.time()),
            )

    def oldest(self, most: int, most_bytes: int) -> list[Spooled]:
        """The oldest receipts: at most `most`, and together at most `most_bytes`, but always at least one."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT seq, request_id, body FROM spooled ORDER BY seq LIMIT ?", (most,)
            ).fetchall()
        batch: list[Spooled] = []
        total_bytes = 0
        for row in rows:
            spooled = Spooled(*row)
            total_bytes += len(spooled.body) + 1
            if batch and total_bytes > most_bytes:
                break
            batch.append(spooled)
        return batch

    def settle(self, delivered: Sequence[int], refusals: Sequence[Refusal]) -> None:
        """Delete delivered receipts and set refused ones aside, in one transaction."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM spooled WHERE seq = ?", [(seq,) for seq in delivered])
            for refusal in refusals:
                connection.execute(
                    "INSERT INTO refused (seq, request_id, body, status, reason, refused_at)"
                    " SELECT seq, request_id, body, ?, ?, ? FROM spooled WHERE seq = ?",
                    (refusal.status, refusal.reason, time.time(), refusal.seq),
                )
                connection.execute("DELETE FROM spooled WHERE seq = ?", (refusal.seq,))
            if refusals:
                connection.execute(
                    "DELETE FROM refused WHERE seq <="
                    " (SELECT seq FROM refused ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                    (MOST_REFUSED_KEPT,),
                )

    def refusals(self) -> list[Refusal]:
        """The refused receipts, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT seq, status, reason FROM refused ORDER BY seq").fetchall()
        return [Refusal(*row) for row in rows]

    def counts(self) -> SpoolCounts:
        """The counts of this spool."""
        with self._transaction() as connection:
            return _counts(connection)

    def close(self) -> None:
        """Close the file. Later calls raise SpoolClosed."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                raise SpoolClosed
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def read_counts(path: Path) -> SpoolCounts | None:
    """The counts of a spool that another process may be using. None if there is no spool."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as connection:
        return _counts(connection)


def _counts(connection: sqlite3.Connection) -> SpoolCounts:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM spooled), (SELECT count(*) FROM refused),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'spooled'), 0)"
    ).fetchone()
    return SpoolCounts(*row)
