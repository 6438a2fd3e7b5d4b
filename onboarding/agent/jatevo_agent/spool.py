"""Stores receipts in SQLite until the console has them. A crash at any moment loses none.

A receipt is in `spooled` from its completion until the console has accepted or refused it. The newest refused
receipts are kept in `refused`, with the reason. `answered` names the requests that have had a receipt.

The spool has a limit, see `room`. It is not enforced here: a receipt of a request that was taken is always
stored.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .room import DEFAULT_LIMIT_MB, Room

MOST_REFUSED_KEPT = 10_000
MOST_ANSWERED_KEPT = 200_000
_FORGET_EVERY = 1_000

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
CREATE TABLE IF NOT EXISTS answered (
    seq INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE
);
"""


@dataclass(frozen=True)
class Spooled:
    """A waiting receipt. The oldest has the lowest `seq`. `body` is what will be sent."""

    seq: int
    request_id: str
    body: bytes


@dataclass(frozen=True)
class Refusal:
    """A receipt that the console refused for good, and why."""

    seq: int
    status: int
    reason: str


@dataclass(frozen=True)
class SpoolCounts:
    """How many receipts wait, were refused (only those still kept), and were ever completed here."""

    spooled: int
    refused: int
    completed_total: int


class SpoolClosed(Exception):
    """The agent is stopping."""


class Spool:
    """The spool of one running agent. Thread-safe. Raises sqlite3.Error if the disk fails."""

    def __init__(self, path: Path, limit_bytes: int = DEFAULT_LIMIT_MB * 2**20) -> None:
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._room = Room(path.parent, limit_bytes)
        self._connection: sqlite3.Connection | None = _connection(path)
        try:
            path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # In WAL mode, only FULL makes a commit survive a power cut.
            self._connection.execute("PRAGMA synchronous=FULL")
            # SQLite's log shrinks to this after a burst.
            self._connection.execute(f"PRAGMA journal_size_limit={16 * 2**20}")
            self._connection.executescript(_SCHEMA)
            self._room.used_bytes = _used_bytes(self._connection)
            self._reader = _connection(path)
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
            _remember(connection, request_id)
            self._room.used_bytes = _used_bytes(connection)

    def lack_of_room(self) -> str | None:
        """Why no new request should be taken, as a sentence for people. None while there is room.

        Takes no lock, so that an event loop may call it.
        """
        return self._room.lack()

    def has_answered(self, request_id: str) -> bool:
        """Whether the request has a receipt, delivered or not. The newest MOST_ANSWERED_KEPT are known.

        Reads over a connection of its own, so that it waits for no receipt that is being written.
        """
        with self._reading:
            if self._reader is None:
                raise SpoolClosed
            query = "SELECT 1 FROM answered WHERE request_id = ?"
            return self._reader.execute(query, (request_id,)).fetchone() is not None

    def oldest(self, most: int, most_bytes: int) -> list[Spooled]:
        """The oldest receipts: at most `most`, and together at most `most_bytes`, but always at least one."""
        with self._transaction() as connection:
            batch: list[Spooled] = []
            total_bytes = 0
            for row in connection.execute(
                "SELECT seq, request_id, body FROM spooled ORDER BY seq LIMIT ?", (most,)
            ):
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
            self._room.used_bytes = _used_bytes(connection)

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
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
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


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)


def _remember(connection: sqlite3.Connection, request_id: str) -> None:
    """Note, in the transaction of its receipt, that a request is answered."""
    cursor = connection.execute("INSERT OR IGNORE INTO answered (request_id) VALUES (?)", (request_id,))
    seq = cursor.lastrowid if cursor.rowcount == 1 else None
    if seq is not None and seq % _FORGET_EVERY == 0:
        connection.execute("DELETE FROM answered WHERE seq <= ?", (seq - MOST_ANSWERED_KEPT,))


def read_counts(path: Path) -> SpoolCounts | None:
    """The counts of a spool that another process may be using. None if there is none, or it cannot be read."""
    if not path.exists():
        return None
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        ) as connection:
            return _counts(connection)
    except sqlite3.Error:  # among others, an agent that starts has not made the tables yet
        return None


def _used_bytes(connection: sqlite3.Connection) -> int:
    """What the tables use of the file. Deleted rows leave free pages, which are used again."""
    pages, free_pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free_pages) * page_bytes)


def _counts(connection: sqlite3.Connection) -> SpoolCounts:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM spooled), (SELECT count(*) FROM refused),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'spooled'), 0)"
    ).fetchone()
    return SpoolCounts(*row)
