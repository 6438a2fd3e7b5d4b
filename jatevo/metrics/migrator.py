"""ClickHouse's schema: the numbered files of `schema/`, each applied once, in order.

A file contains statements that end in `;` at the end of a line. ClickHouse has no transactions, so a file
that was interrupted is run again from its start, and every statement must be harmless when run twice.

- `ALTER … ADD COLUMN` must add one column. It is skipped if the column exists, because ClickHouse 18.16 has
  no IF NOT EXISTS for it.
- `INSERT … VALUES` is not possible, because in the native protocol its rows are not part of the statement.
- `INSERT … SELECT` needs its own `SETTINGS max_execution_time` if it may take longer than a query.

The first line may be a directive. With `-- requires: 21.8` the file is skipped until the server has that
version or a later one. With `-- for each partition of: a_table` the statements run once for each partition of
the table, with its id as `{partition}`, so that a backfill of any size takes little memory.

On a cluster, each statement is rendered by `cluster.py`: as tables of each shard and Distributed ones over them.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from jatevo.metrics.cluster import (
    REBUILD,
    WrongLayout,
    refuse_other_layout,
    rendered,
    shard_weights,
    stored,
    system_rows,
)
from jatevo.metrics.notes import MIGRATIONS, read_notes, write_note
from jatevo.metrics.partitions import partitions_of
from jatevo.metrics.transport import MetricsError, Param, QueryRefused, Transport

SCHEMA_FOLDER = Path(__file__).parent / "schema"

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+")
_REQUIRES = re.compile(r"-- requires: (\d+(?:\.\d+)*)")
_FOR_EACH_PARTITION = re.compile(r"-- for each partition of: (\w+)")
_ADD_COLUMN = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+)")
_MIGRATIONS_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations
        (version UInt32, name String, sha256 String, applied_at DateTime('UTC'))
    ENGINE = ReplacingMergeTree ORDER BY version
""".strip()


class SchemaChanged(MetricsError):
    """A file was edited after it had been applied. Restore it and put the change in a new file."""


class MigrationOutcome(StrEnum):
    APPLIED = "applied"
    ALREADY_APPLIED = "already applied"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class MigrationStep:
    """The outcome for one file. `detail` says why it was skipped, or how many partitions it filled."""

    name: str
    outcome: MigrationOutcome
    detail: str = ""


@dataclass(frozen=True)
class SchemaFile:
    version: int
    name: str
    sha256: str
    requires: tuple[int, ...]
    partitions_of: str  # the table named by the directive, or ""
    statements: tuple[str, ...]


def migrate(store: Transport, *, at: datetime, folder: Path = SCHEMA_FOLDER) -> list[MigrationStep]:
    """Updates the store's schema. Returns the outcome for each file.

    It may run twice, and in two processes at once, but not while a worker of the new release runs: facts that
    the worker ships before a backfill would be counted twice. Backfills need a `patient_store()`. Raises
    SchemaChanged, WrongLayout, MetricsUnavailable or QueryRefused.
    """
    store.create_database()
    refuse_other_layout(store)
    _execute(store, _MIGRATIONS_TABLE)
    applied = _applied(store)
    ((server_version,),) = store.execute("SELECT version()")
    steps = []
    for file in read_files(folder):
        if file.version in applied:
            if applied[file.version] != file.sha256:
                raise SchemaChanged(f"{file.name}.sql was edited after it had been applied")
            steps.append(MigrationStep(file.name, MigrationOutcome.ALREADY_APPLIED))
        elif _numbers(server_version) < file.requires:
            needed = ".".join(map(str, file.requires))
            detail = f"needs ClickHouse {needed}, this is {server_version}"
            steps.append(MigrationStep(file.name, MigrationOutcome.SKIPPED, detail))
        else:
            detail = _apply(store, file)
            write_note(store, MIGRATIONS, file.version, file.sha256, file.name, at=at)
            steps.append(MigrationStep(file.name, MigrationOutcome.APPLIED, detail))
    return steps


def _apply(store: Transport, file: SchemaFile) -> str:
    """Runs a file's statements. Returns the detail for its step."""
    if not file.partitions_of:
        for statement in file.statements:
            _execute(store, statement)
        return ""
    partitions = partitions_of(store, file.partitions_of)
    for partition in partitions:
        for statement in file.statements:
            _execute(store, statement, {"partition": partition.number})
    count = len(partitions)
    return f"{count} partition{'' if count == 1 else 's'} of {file.partitions_of}"


def _applied(store: Transport) -> dict[int, str]:
    """The hashes of the files that were applied, by their numbers. Raises WrongLayout if a shard lacks one."""
    if store.cluster is None:
        return dict(store.execute("SELECT version, sha256 FROM schema_migrations FINAL"))
    known = read_notes(store, MIGRATIONS)
    # the newest may have been interrupted, and its file is run again
    newest = max((note.values[0] for note in known), default=0)
    missing = sorted(note.values[0] for note in known if not note.everywhere)
    if missing and missing != [newest]:
        raise WrongLayout(
            f"the shards of the cluster {store.cluster.name} are not those for which file {missing[0]:04} was applied:"
            f" one was added, removed, emptied or replaced. {REBUILD}"
        )
    return {note.values[0]: note.values[1] for note in known if note.everywhere}


def _execute(store: Transport, statement: str, params: dict[str, Param] | None = None) -> None:
    added = _ADD_COLUMN.match(statement)
    for each in rendered(statement, store.cluster):
        is_addition = added is not None and "ADD COLUMN" in each.sql
        if added is not None and is_addition and _has_column(store, added[1], added[2]):
            continue
        run = store.execute_on_each if each.on_each else store.execute
        try:
            run(each.sql, {**each.params, **(params or {})})
        except QueryRefused:
            # Another process may have added it since the check, or some of the servers had it already.
            if added is None or not is_addition or not _has_column(store, added[1], added[2]):
                raise


def _has_column(store: Transport, table: str, column: str) -> bool:
    """Whether the table has the column on every shard."""
    rows = system_rows(store, "columns")
    ((count,),) = store.execute(
        f"SELECT count() FROM {rows} AND table = {{table}} AND name = {{column}}",  # noqa: S608 - no value
        {"table": stored(store, table), "column": column},
    )
    return int(count) == len(shard_weights(store))


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
    each = _FOR_EACH_PARTITION.match(text)
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return SchemaFile(
        version=int(name[1]),
        name=path.stem,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        requires=_numbers(guard[1]) if guard else (),
        partitions_of=each[1] if each else "",
        statements=tuple(part.strip() for part in re.split(r";\s*(?:\n|$)", code) if part.strip()),
    )


def _numbers(version: str) -> tuple[int, ...]:
    """A version such as `18.16.1` or `23.8.2.7-lts` as a tuple that can be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0]))
