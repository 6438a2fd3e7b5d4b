"""ClickHouse's engine inside this process (chDB), for the one-machine run.

chDB has two limitations. A folder can be open in only one process. In a forked child, chDB's threads are
missing, so any call would wait for ever. So there is one session per process behind a lock, and calls from
another pid are refused. (A forked child must also exit with os._exit, as multiprocessing's children do,
because chDB's exit handlers wait for those threads.)
"""

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from jatevo.metrics.cells import cells_to_insert
from jatevo.metrics.json_types import JSON_SETTINGS, reader_of
from jatevo.metrics.quoting import bind, identifier
from jatevo.metrics.transport import (
    TYPE_MISMATCH,
    Cell,
    MetricsUnavailable,
    Param,
    QueryRefused,
    Row,
    refusal,
)

DATABASE = "jatevo"
# Rewrites a column or a partition, however many rows there are.
_REWRITE = re.compile(r"ALTER TABLE \w+\s+MODIFY COLUMN|OPTIMIZE TABLE")
CHANGE_SECONDS = 3600
_CODE = re.compile(r"Code: (\d+)")


class ForkedProcess(RuntimeError):
    """chDB was opened before a fork and used after it. This is a deployment mistake, not an outage."""


class ChdbTransport:
    """A Transport on the chDB session of `folder`, opened at the first call."""

    cluster = None

    def __init__(self, folder: str | Path, *, timeout_seconds: float) -> None:
        self._folder = Path(folder)
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._session: Any = None
        self._owner_pid: int | None = None

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        bound = bind(sql, params)
        if _REWRITE.match(bound):
            bound += f" SETTINGS max_execution_time = {CHANGE_SECONDS}"
        with self._opened() as session:
            answer = _run(session, bound, "JSONCompactEachRowWithNamesAndTypes")
        return _rows(answer)

    def execute_on_each(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        self.execute(sql, params)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        if not rows:
            return
        names = ", ".join(identifier(column) for column in columns)
        try:
            # One JSON array per line. JSON escapes quotes and line ends, so no cell can end the statement.
            lines = [
                orjson.dumps(cells_to_insert(row), default=_json_cell, option=_PLAIN).decode() for row in rows
            ]
        except TypeError as error:
            raise QueryRefused(f"{identifier(table)}: {error}", TYPE_MISMATCH) from error
        statement = f"INSERT INTO {identifier(table)} ({names}) FORMAT JSONCompactEachRow\n"
        with self._opened() as session:
            _run(session, statement + "\n".join(lines))

    def create_database(self) -> None:
        self.ping()  # opening the session creates it

    def ping(self) -> None:
        self.execute("SELECT 1")

    def close(self) -> None:
        if self._session is None or self._owner_pid != os.getpid():
            return
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The session, locked for this thread."""
        # Checked before the lock is taken, because a fork may have copied it in the locked state.
        if self._owner_pid not in (None, os.getpid()):
            raise ForkedProcess(
                f"chDB was opened by process {self._owner_pid} and cannot be used in its forked child "
                f"{os.getpid()}. Run one process, or set CLICKHOUSE_URL to use a ClickHouse server."
            )
        if not self._lock.acquire(timeout=self._timeout_seconds):
            raise MetricsUnavailable("chDB is busy with other queries")
        try:
            if self._session is None:
                self._session = self._open()
                self._owner_pid = os.getpid()
            yield self._session
        finally:
            self._lock.release()

    def _open(self) -> Any:
        # Imported here because the engine takes 0.3 s to import and 400 MB of address space.
        from chdb.session import Session

        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            session = Session(str(self._folder))
        except RuntimeError as error:
            raise MetricsUnavailable(
                f"chDB could not open {self._folder}: another process has it open, "
                f"or this process has another folder open ({error})"
            ) from error
        for statement in (
            f"CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic",
            f"USE {DATABASE}",
            *JSON_SETTINGS,
            # As in the native protocol, a NULL text is refused instead of being stored as ''.
            "SET input_format_null_as_default = 0",
            f"SET max_execution_time = {self._timeout_seconds}",
        ):
            _run(session, statement)
        return session


_PLAIN = orjson.OPT_PASSTHROUGH_DATETIME


def _json_cell(cell: object) -> int | str:
    if isinstance(cell, Decimal):
        return format(cell, "f")
    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return int(cell.timestamp())
    raise TypeError(f"no cell can be a {type(cell).__name__} (times need a zone)")


def _run(session: Any, sql: str, output_format: str = "Null") -> bytes:
    try:
        return bytes(session.query(sql, output_format).bytes())
    except RuntimeError as error:
        code = _CODE.search(str(error))
        raise refusal(int(code[1]) if code else 0, str(error)) from error


def _rows(answer: bytes) -> list[Row]:
    lines = answer.splitlines()
    if len(lines) < 2:
        return []
    names, types = orjson.loads(lines[0]), orjson.loads(lines[1])
    readers = [reader_of(name, type_name) for name, type_name in zip(names, types, strict=True)]
    to_read = [(index, reader) for index, reader in enumerate(readers) if reader is not None]
    rows = []
    for line in lines[2:]:
        if line:
            cells = orjson.loads(line)
            for index, reader in to_read:
                cells[index] = reader(cells[index])
            rows.append(tuple(cells))
    return rows
