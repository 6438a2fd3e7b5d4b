"""Migrations that would disturb a running console are found. The project's own pass, or are excused with a reason."""

from collections.abc import Sequence

import pytest
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from migration_checks import checking
from migration_checks.excused import EXCUSED
from migration_checks.rules import Linter

pytestmark = pytest.mark.django_db(transaction=True)  # some migrations refuse a transaction

LAST = ("nodes", "0027_names_of_nodes_checked")
CONCURRENCY = models.CheckConstraint(condition=models.Q(concurrency__lt=4096), name="invented")
INDEX = models.Index(fields=["region", "runtime"], name="invented")
LOCKS = migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop)
UPDATE = migrations.RunSQL("UPDATE nodes_node SET concurrency = 4", migrations.RunSQL.noop)
FUNCTION = migrations.RunSQL(
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\nUPDATE nodes_node SET concurrency = 4;\n"
    "RETURN NULL; END $$",
    "DROP FUNCTION f",
)
NULLABLE = migrations.AddField("node", "invented", models.IntegerField(null=True))
REQUIRED = migrations.AddField("node", "invented", models.IntegerField(default=4))


def codes(operations: Sequence[Operation], *, atomic: bool = True) -> set[str]:
    """The problems of a migration of nodes that would be the next."""
    linter = Linter()
    members = {"operations": list(operations), "atomic": atomic, "dependencies": [LAST]}
    migration = type("Migration", (migrations.Migration,), members)("9999_invented", "nodes")
    loader = linter.migration_loader
    node = ("nodes", migration.name)
    loader.graph.add_node(node, migration)
    loader.graph.add_dependency(migration, node, LAST)
    return {problem.code for problem in linter.problems(migration)}


@pytest.mark.parametrize(
    ("operations", "atomic", "expected"),
    [
        ([NULLABLE], True, set()),
        ([AddIndexConcurrently("node", INDEX)], False, set()),
        ([AddConstraintNotValid("node", CONCURRENCY)], True, set()),
        ([UPDATE], True, set()),
        ([FUNCTION], True, set()),
        ([REQUIRED], True, {"NOT_NULL"}),
        ([migrations.AddIndex("node", INDEX)], True, {"CREATE_INDEX"}),
        ([migrations.RemoveField("node", "concurrency")], True, {"DROP_COLUMN"}),
        ([migrations.AddConstraint("node", CONCURRENCY)], True, {"CHECK_VALIDATED"}),
        ([NULLABLE, UPDATE], True, {"DATA_WITH_SCHEMA"}),
        ([NULLABLE], False, {"NOT_ATOMIC"}),
        ([LOCKS, NULLABLE], True, {"LOCK_TIMEOUT"}),
    ],
)
def test_a_new_migration_passes_only_if_it_disturbs_nobody(
    operations: Sequence[Operation], atomic: bool, expected: set[str]
) -> None:
    assert codes(operations, atomic=atomic) == expected


def test_the_migrations_of_this_project_pass_or_are_excused_and_no_excuse_is_left_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    invented = {("receipts", "0012_views"): {"CREATE_INDEX": "none"}, ("receipts", "0999_gone"): {}}
    monkeypatch.setattr(checking, "EXCUSED", {**EXCUSED, **invented})
    assert checking.found() == [
        "excused.py names receipts.0999_gone, which does not exist",
        "receipts.0012_views: excused.py excuses CREATE_INDEX, which it does not have",
    ]
