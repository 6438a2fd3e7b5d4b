"""All migrations of this project, against the rules and the list of those that are excused."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db.migrations import Migration

from migration_checks.excused import EXCUSED
from migration_checks.rules import Linter


def found() -> list[str]:
    """One line for each problem that is not excused, and for each excuse that is no longer needed."""
    linter = Linter()
    own = [each for each in linter.migration_loader.disk_migrations.values() if _is_ours(each)]
    unknown = EXCUSED.keys() - {(each.app_label, each.name) for each in own}
    lines = [f"excused.py names {app}.{name}, which does not exist" for app, name in sorted(unknown)]
    for migration in sorted(own, key=lambda each: (each.app_label, each.name)):
        excused = EXCUSED.get((migration.app_label, migration.name), {})
        lines += _problems_of(migration, linter, excused)
    return lines


def _problems_of(migration: Migration, linter: Linter, excused: Mapping[str, str]) -> Iterator[str]:
    name = f"{migration.app_label}.{migration.name}"
    problems = linter.problems(migration)
    for problem in problems:
        if problem.code not in excused:
            where = "".join(f" ({part})" for part in (problem.table, problem.column) if part)
            yield f"{name}: {problem.code}: {problem.message}{where}"
    for code in sorted(excused.keys() - {problem.code for problem in problems}):
        yield f"{name}: excused.py excuses {code}, which it does not have"


def _is_ours(migration: Migration) -> bool:
    folder = Path(apps.get_app_config(migration.app_label).path)
    return folder.is_relative_to(settings.BASE_DIR) and "site-packages" not in folder.parts
