"""The rules. Each problem has a code, by which excused.py excuses migrations.

The linter's own codes are those of its README. The project's codes are in OWN.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db.migrations import Migration, RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django_migration_linter.migration_linter import MigrationLinter
from django_migration_linter.sql_analyser.base import Check, CheckMode, CheckType, Issue
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

OWN: Final = {
    "CHECK_VALIDATED": "a constraint of an existing table is checked for all rows under an exclusive lock: "
    "AddConstraintNotValid, and ValidateConstraint in a migration of its own",
    "DATA_WITH_SCHEMA": "rows and tables change in one migration, so that locks last as long as the rows take: "
    "split it",
    "NOT_ATOMIC": "a migration that is not atomic may only build, drop or validate concurrently, or change rows: "
    "it waits for its locks for minutes",
    "LOCK_TIMEOUT": "lock_timeout is set by `manage.py migrate`, which tries again: do not set another",
}
MATTERS_OF_TASTE: Final = frozenset({"RUNPYTHON_ARGS_NAMING_CONVENTION", "RUNPYTHON_MODEL_VARIABLE_NAME"})
_BODY = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_CHANGES_ROWS = re.compile(r"(?:^|;)\s*(?:INSERT INTO|UPDATE|DELETE FROM|WITH)\b", re.IGNORECASE)
_ADDS_CHECK = re.compile(r"ALTER TABLE (\S+) ADD CONSTRAINT .* (?:CHECK|FOREIGN KEY) ")


def _validates_at_once(statements: list[str], **_: object) -> bool:
    created = {sql.split()[2] for sql in statements if sql.startswith("CREATE TABLE ")}
    found = [(match[1], sql) for sql in statements if (match := _ADDS_CHECK.match(sql))]
    return any(table not in created and "NOT VALID" not in sql for table, sql in found)


class _Analyser(PostgresqlAnalyser):
    migration_checks = [
        *PostgresqlAnalyser.migration_checks,
        Check(
            code="CHECK_VALIDATED",
            fn=_validates_at_once,
            message=OWN["CHECK_VALIDATED"],
            mode=CheckMode.TRANSACTION,
            type=CheckType.ERROR,
        ),
    ]


class Linter(MigrationLinter):
    """Django-migration-linter without its printing, which leaves the way back of RunSQL alone: that may drop
    what the way forth has added."""

    def __init__(self) -> None:
        super().__init__(no_cache=True)

    def problems(self, migration: Migration) -> list[Issue]:
        """Everything that is wrong with it, warnings included."""
        analyser = _Analyser(None)
        analyser.analyse(self.get_sql(migration.app_label, migration.name))
        errors, _, warnings = self.analyse_data_migration(migration)
        own = [Issue(code, OWN[code]) for code in _own_problems(migration)]
        all_found = [*analyser.errors, *analyser.warnings, *errors, *warnings, *own]
        return [each for each in all_found if each.code not in MATTERS_OF_TASTE]

    def lint_runsql(self, runsql: RunSQL) -> tuple[list[Issue], list[Issue], list[Issue]]:
        if runsql.reversible:
            return [], [], []
        return [], [], [Issue("RUNSQL_REVERSIBLE", "RunSQL is not reversible")]

    def get_sql(self, app_label: str, migration_name: str) -> list[str]:
        """The SQL of a migration, in lines."""
        migration = self.migration_loader.graph.nodes[(app_label, migration_name)]
        begin = ["BEGIN;"] if migration.atomic else []
        return "\n".join([*begin, *self.migration_loader.collect_sql([(migration, False)])]).splitlines()


def _own_problems(migration: Migration) -> Iterator[str]:
    operations = list(_flat(migration.operations))
    moves_rows = [each for each in operations if _moves_rows(each)]
    if moves_rows and len(moves_rows) < len(operations):
        yield "DATA_WITH_SCHEMA"
    if not migration.atomic and not all(each in moves_rows or _is_concurrent(each) for each in operations):
        yield "NOT_ATOMIC"
    if any("lock_timeout" in sql.lower() for each in operations for sql in _forth(each)):
        yield "LOCK_TIMEOUT"


def _flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Those that reach the database."""
    for each in operations:
        if isinstance(each, SeparateDatabaseAndState):
            yield from _flat(each.database_operations)
        else:
            yield each


def _forth(operation: Operation) -> list[str]:
    """The statements of a RunSQL, without the bodies of functions."""
    if not isinstance(operation, RunSQL):
        return []
    given = [operation.sql] if isinstance(operation.sql, str) else operation.sql
    texts = [each if isinstance(each, str) else each[0] for each in given]
    return [_BODY.sub("", text) for text in texts]


def _moves_rows(operation: Operation) -> bool:
    return isinstance(operation, RunPython) or any(_CHANGES_ROWS.search(sql) for sql in _forth(operation))


def _is_concurrent(operation: Operation) -> bool:
    if isinstance(operation, RunSQL):
        return all(" CONCURRENTLY " in sql for sql in _forth(operation))
    return isinstance(operation, AddIndexConcurrently | RemoveIndexConcurrently | ValidateConstraint)
