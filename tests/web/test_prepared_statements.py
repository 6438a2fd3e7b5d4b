"""Statements of the busiest requests are prepared once in a session, and nothing else is."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from django.db import NotSupportedError, connection
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.web.postgresql.budgets import COMMAND, INGEST, PAGE, Work
from jatevo.web.postgresql.columns import texts
from jatevo.web.postgresql.statements import fetch
from nodes import actions
from nodes.models import Node
from tests.factories import NodeFactory
from tests.sessions import session

pytestmark = pytest.mark.django_db(transaction=True)

REPEATS = 7  # psycopg on its own prepares what it has seen five times


def prepared() -> dict[str, int]:
    """How often each prepared statement of the session was executed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements")
        return dict(cursor.fetchall())


@pytest.mark.parametrize("work", [INGEST, PAGE, COMMAND], ids=lambda work: str(work.name))
def test_a_constant_statement_is_prepared_once_in_a_session(work: Work) -> None:
    with session(work):
        for number in range(REPEATS):
            assert fetch("SELECT %s::integer + 1", [number]) == [(number + 1,)]
        assert prepared() == {"SELECT $1::integer + 1": REPEATS}


@pytest.mark.parametrize(("work", "custom_plans"), [(INGEST, 0), (PAGE, 5)], ids=["ingest", "page"])
def test_ingest_plans_a_statement_once(work: Work, custom_plans: int) -> None:
    with session(work), connection.cursor() as cursor:
        for _ in range(5):  # after which PostgreSQL compares what plans cost
            fetch("SELECT id FROM nodes_node WHERE id = ANY(%s)", [texts(["a", "b"])])
        cursor.execute("SELECT custom_plans, generic_plans FROM pg_prepared_statements")
        assert cursor.fetchall() == [(custom_plans, 5 - custom_plans)]


def test_a_heartbeat_is_prepared() -> None:
    node = NodeFactory.create()
    with session(INGEST):
        actions.heartbeat(node_id=node.pk, beat=actions.Beat(1.0, {}), at=timezone.now())
        assert [text for text in prepared() if "UPDATE nodes_node" in text]


def test_statements_of_the_orm_are_not_prepared() -> None:
    with session(PAGE):
        for _ in range(REPEATS):
            assert not Node.objects.filter(id="nobody").exists()
        assert prepared() == {}


def test_texts_of_the_orm_are_not_kept() -> None:
    """Values are part of them, so that a hundred may be megabytes."""
    with session(PAGE):
        fetch("SELECT %s::integer + 1", [1])
        for number in range(REPEATS):
            assert not Node.objects.filter(id=f"nobody-{number}").exists()
        assert not connection.connection._prepared._counts


@pytest.fixture
def outdated_table() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE outdated (word varchar(10)); INSERT INTO outdated VALUES ('kept')")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE outdated")


@pytest.mark.parametrize("in_transaction", [False, True], ids=["alone", "in a transaction"])
def test_statement_outlives_a_migration_of_what_it_reads(outdated_table: None, in_transaction: bool) -> None:
    def read() -> list[tuple[Any, ...]]:
        with atomic() if in_transaction else nullcontext():
            return fetch("SELECT word FROM outdated", [])

    with session(INGEST):
        assert read() == [("kept",)]
        with psycopg.connect(
            connection.connection.info.dsn, password=connection.settings_dict["PASSWORD"]
        ) as other:
            other.execute("ALTER TABLE outdated ALTER COLUMN word TYPE varchar(20)")
        if in_transaction:  # what contains it is rolled back, and the next attempt succeeds
            with pytest.raises(NotSupportedError):
                read()
        assert [read(), read()] == [[("kept",)]] * 2


def test_prepared_statements_are_among_the_queries_of_tests() -> None:
    with CaptureQueriesContext(connection) as caught:
        for number in range(2):
            fetch("SELECT %s::integer + 1", [number])
    assert [query["sql"] for query in caught] == ["SELECT $1::integer + 1"] * 2


def test_nothing_is_prepared_where_sessions_are_shared(settings: Any) -> None:
    settings.DATABASE_PREPARES_STATEMENTS = False
    with session(COMMAND):
        for number in range(REPEATS):
            fetch("SELECT %s::integer + 1", [number])
        assert prepared() == {}
