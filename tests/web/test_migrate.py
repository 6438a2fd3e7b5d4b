"""`manage.py migrate` gives way to what holds a table, and tries again."""

import io
import threading
from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from jatevo.web.management.commands import migrate

pytestmark = pytest.mark.django_db(transaction=True)

TARGET = ("receipts", "0012_views")  # 0013 changes a column of receipts_receiptexport


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", (0.0, 0.0))


@pytest.fixture
def reader() -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A long transaction that has read the table."""
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT count(*) FROM receipts_receiptexport")
        yield other


class Told(io.StringIO):
    """Output that says when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_a_migration_that_meets_a_long_transaction_is_tried_again(
    reader: "psycopg.Connection[tuple[object, ...]]",
) -> None:
    told = Told()

    def end_after_first_try() -> None:
        told.written.wait(60)
        reader.rollback()

    ending = threading.Thread(target=end_after_first_try)
    ending.start()
    call_command("migrate", *TARGET, verbosity=0, stderr=told)
    ending.join()
    assert "receipts.0013_export_counted_later waits for other transactions" in told.getvalue()
    call_command("migrate", verbosity=0)


def test_a_migration_that_never_gets_its_locks_ends_with_a_sentence_and_changes_nothing(
    reader: "psycopg.Connection[tuple[object, ...]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(CommandError, match="did not get its locks"):
        call_command("migrate", *TARGET, verbosity=0)
    ((applied,),) = reader.execute(
        "SELECT count(*) FROM django_migrations WHERE name = '0013_export_counted_later'"
    ).fetchall()
    assert applied == 1


def test_others_wait_behind_a_migration_for_less_time_than_ingest_allows() -> None:
    from jatevo.web.postgresql.budgets import INGEST

    assert INGEST.lock_seconds > migrate.LOCK_SECONDS


def test_indexes_are_built_concurrently_without_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving up would leave an invalid index."""
    limits: dict[str, float] = {}

    def note(self: migrate.Command, seconds: float | None) -> None:
        if seconds is not None:
            limits[str(self._migration)] = seconds

    monkeypatch.setattr(migrate.Command, "_limit_locks", note)
    call_command("migrate", "receipts", "0010_exports", verbosity=0)
    call_command("migrate", verbosity=0)
    assert limits["receipts.0011_find_by_bytes"] == migrate.CONCURRENT_LOCK_SECONDS
    assert limits["receipts.0012_views"] == migrate.LOCK_SECONDS


def test_an_index_that_waits_in_vain_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has left an invalid one, which would be in the way."""
    call_command("migrate", "receipts", "0010_exports", verbosity=0)
    monkeypatch.setattr(migrate, "CONCURRENT_LOCK_SECONDS", 0.2)
    with psycopg.connect(**connection.get_connection_params()) as writer:
        writer.execute("LOCK TABLE receipts_receiptidentity IN ROW EXCLUSIVE MODE")
        with pytest.raises(CommandError, match="drop the invalid index"):
            call_command("migrate", verbosity=0)


def test_afterwards_the_process_waits_for_locks_like_other_commands() -> None:
    call_command("migrate", *TARGET, verbosity=0)
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("10s",)
