"""Gives every test a database as the migrations create it.

Most tests are rolled back. A test that commits (`django_db(transaction=True)`) leaves its rows, so afterwards
the database is dropped and created again from a copy of its first state. Django would empty all tables instead,
which takes as long, is refused by the audit log, and deletes rows that migrations have inserted.

Nothing is created again if no transaction has written meanwhile: many of these tests only read, or are about requests
that are refused.
"""

import os
from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import TransactionTestCase
from pytest_django.plugin import DjangoDbBlocker

AS_MIGRATED = "as_migrated"


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Replaces pytest-django's fixture, which would create a second database on this run's server."""
    with django_db_blocker.unblock():
        call_command("migrate", interactive=False, verbosity=0)
        copy_database(connection.settings_dict["NAME"], AS_MIGRATED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_setup", classmethod(_note_writes))
        patch.setattr(TransactionTestCase, "_fixture_teardown", _make_anew)
        yield
    with django_db_blocker.unblock():
        connections.close_all()


_written_before = ""


def _note_writes(_: type[TransactionTestCase]) -> None:
    global _written_before
    _written_before = writes()


def _make_anew(_: TransactionTestCase) -> None:
    if writes() != _written_before:
        copy_database(AS_MIGRATED, connection.settings_dict["NAME"])


def writes() -> str:
    """Differs after each transaction that writes to any database of the server, and while one is at it.

    Such a transaction gets the next number. Those that only read get none.
    """
    with _administration() as server:
        ((found,),) = server.execute(
            "SELECT concat_ws(' ', pg_snapshot_xmax(pg_current_snapshot()), min(backend_xid::text))"
            " FROM pg_stat_activity"
        ).fetchall()
    return found


def copy_database(source: str, target: str) -> None:
    """Replace a database by a copy of another, even if clients are connected to it."""
    connections.close_all()
    with _administration() as server:
        server.execute(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
        server.execute(f'CREATE DATABASE "{target}" TEMPLATE "{source}" STRATEGY FILE_COPY')


def _administration() -> "psycopg.Connection[tuple[str, ...]]":
    return psycopg.connect(host=os.environ["PGHOST"], dbname="postgres", autocommit=True)
