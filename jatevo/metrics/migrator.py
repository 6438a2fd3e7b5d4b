"""ClickHouse's schema: the numbered files of `schema/`, applied once each, in order.

A file is statements that end in `;` at a line's end, each harmless when run twice: ClickHouse has no
transaction around them, so a file that was cut short is run again from its top. `INSERT … VALUES` has no
place in them (its rows are no part of the statement in the native protocol); `INSERT … SELECT` has. A first
line `-- requires: 21.8` keeps a file for servers of that version or later; it is applied by the first run
after the server's upgrade.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from jatevo.metrics.transport import MetricsError, Transport

SCHEMA_FOLDER = Path(__file__).parent / "schema"

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+")
_REQUIRES = re.compile(r"-- requires: (\d+(?:\.\d+)*)")
_MIGRATIONS_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations
        (version UInt32, name String, sha256 String, applied_at DateTime('UTC'))
    ENGINE = ReplacingMergeTree ORDER BY version
"""


class SchemaChanged(MetricsError):
    """A file was edited after it had been applied. Put it back, and write the change as a new file."""


class Outcome(StrEnum):
    APPLIED = "applied"
    ALREADY_APPLIED = "already applied"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Step:
    """What became of one file; `detail` says why it was skipped."""

    name: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class SchemaFile:
    version: int
    name: str
    sha256: str
    requires: tuple[int, ...]
    statements: tuple[str, ...]


def migrate(store: Transport, *, at: datetime, folder: Path = SCHEMA_FOLDER) -> list[Step]:
    """Brings the store's schema up to date, and says what it did with each file.

    Safe to run twice and by two processes at once. Raises SchemaChanged, MetricsUnavailable, QueryRefused.
    """
    store.create_database()
    store.execute(_MIGRATIONS_TABLE)
    applied: dict[int, str] = dict(store.execute("SELECT version, sha256 FROM schema_migrations FINAL"))
    ((server_version,),) = store.execute("SELECT version()")
    steps = []
    for file in read_files(folder):
        if file.version in applied:
            if applied[file.version] != file.sha256:
                raise SchemaChanged(f"{file.name}.sql was edited after it had been applied")
            steps.append(Step(file.name, Outcome.ALREADY_APPLIED))
        elif _numbers(server_version) < file.requires:
            needed = ".".join(map(str, file.requires))
            detail = f"needs ClickHouse {needed}, this is {server_version}"
            steps.append(Step(file.name, Outcome.SKIPPED, detail))
        else:
            for statement in file.statements:
                store.execute(statement)
            store.insert(
                "schema_migrations",
                ["version", "name", "sha256", "applied_at"],
                [(file.version, file.name, file.sha256, at)],
            )
            steps.append(Step(file.name, Outcome.APPLIED))
    return steps


def read_files(folder: Path = SCHEMA_FOLDER) -> list[SchemaFile]:
    """The folder's SQL files by number. Raises ValueError for a bad name or a number used twice."""
    files = [_read(path) for path in sorted(folder.glob("*.sql"))]
    if len({file.version for file in files}) != len(files):
        raise ValueError(f"two files of {folder} have the same number")
    return files


def _read(path: Path) -> SchemaFile:
    name = _FILE_NAME.fullmatch(path.stem)
    if name is None:
        raise ValueError(f"not a schema file's name: {path.name}")
    text = path.read_text(encoding="utf-8")
    guard = _REQUIRES.match(text)
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return SchemaFile(
        version=int(name[1]),
        name=path.stem,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        requires=_numbers(guard[1]) if guard else (),
        statements=tuple(part.strip() for part in re.split(r";\s*(?:\n|$)", code) if part.strip()),
    )


def _numbers(version: str) -> tuple[int, ...]:
    """`18.16.1` or `23.8.2.7-lts` as a tuple that compares."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0]))
