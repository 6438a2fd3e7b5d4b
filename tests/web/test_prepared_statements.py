"""Statements of the busiest requests are prepared once in a session, and nothing else is."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.web.postgresql.budgets import COMMAND, INGEST, PAGE, Work, working
from jatevo.web.postgresql.statements import fetch
from nodes import actions
from nodes.models import Node
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db(transaction=True)

REPEATS = 7  # psycopg on its own prepares what it has seen five times


def prepared() -> dict[str, int]:
    """How often each prepared statement of the session was executed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements")
        return dict(cursor.fetchall())


@pytest.mark.parametrize("work", [INGEST, PAGE, COMMAND], ids=lambda work: str(work.name))
def test_a_constant_statement_is_planned_once_for_a_session(work: Work) -> None:
    connection.close()
    with working(work):
        for number in range(REPEATS):
            assert fetch("SELECT %s::integer + 1", [number]) == [(number + 1,)]
        assert prepared() == {"SELECT $1::integer + 1": REPEATS}
        connection.close()


def test_a_heartbeat_is_prepared() -> None:
    node = NodeFactory.create()
    connection.close()
    with working(INGEST):
        actions.heartbeat(node_id=node.pk, beat=actions.Beat(1.0, {}), at=timezone.now())
        assert [text for text in prepared() if "UPDATE nodes_node" in text]
        connection.close()


def test_statements_of_the_orm_are_not_prepared() -> None:
    connection.close()
    with working(PAGE):
        for _ in range(REPEATS):
            assert not Node.objects.filter(id="nobody").exists()
        assert prepared() == {}
        connection.close()


def test_prepared_statements_are_among_the_queries_of_tests() -> None:
    with CaptureQueriesContext(connection) as caught:
        for number in range(2):
            fetch("SELECT %s::integer + 1", [number])
    assert [query["sql"] for query in caught] == ["SELECT $1::integer + 1"] * 2


def test_nothing_is_prepared_where_sessions_are_shared(settings: Any) -> None:
    settings.DATABASE_PREPARES_STATEMENTS = False
    connection.close()
    with working(COMMAND):
        for number in range(REPEATS):
            fetch("SELECT %s::integer + 1", [number])
        assert prepared() == {}
        connection.close()
