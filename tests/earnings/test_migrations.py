"""What the migrations promise while a console of the last release still writes."""

import re
from importlib import import_module

import pytest
from django.db import connection, migrations

pytestmark = pytest.mark.django_db


def sql_of(name: str) -> str:
    operations = import_module(f"earnings.migrations.{name}").Migration.operations
    return "".join(str(each.sql) for each in operations if isinstance(each, migrations.RunSQL))


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("0003_totals", "earnings_line"),
        ("0008_open_balances", "earnings_line"),
        ("0011_held_totals", "earnings_helditem"),
        ("0013_totals_over_days", "earnings_line"),
        ("0013_totals_over_days", "earnings_daytotal"),
    ],
)
def test_nothing_is_written_between_the_sums_and_the_triggers_that_keep_them(name: str, table: str) -> None:
    """A row written between them would be in no total, for good. Reading goes on."""
    first_sum = re.search(r"^(INSERT|UPDATE) ", sql_of(name), re.MULTILINE)
    assert first_sum
    with connection.cursor() as cursor:
        cursor.execute(sql_of(name)[: first_sum.start()])
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("5s",)
        cursor.execute(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = %s::regclass", [table]
        )
        assert ("ShareRowExclusiveLock",) in cursor.fetchall()


def test_payment_of_a_payout_waits_for_its_lock_no_longer_than_others() -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql_of("0009_payment_of_payout"))
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("5s",)
