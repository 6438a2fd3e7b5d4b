"""The receipts explorer reads from a replica, and nobody can tell."""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone
from psycopg.errors import QueryCanceled
from pytest_django import DjangoDbBlocker

from jatevo.accounts.models import Org, Role
from jatevo.web.postgresql import connections as bounded
from jatevo.web.postgresql import replica as reading
from jatevo.web.postgresql.connections import ReplicaConnection, breaker, replica_breaker
from jatevo.web.postgresql.replica import lag_breaker, read, reading_connection
from nodes.models import Node
from receipts.models import Receipt
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory
from tests.metrics.unhurried import unhurried
from tests.stopping import stopped
from tests.web.streaming_replica import StreamingReplica, as_replica, streaming_replica

__all__ = ["unhurried"]
pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "replica"]),
    pytest.mark.usefixtures("unhurried"),
]
URLS = ("/receipts/", "/receipts/?hedged=false", "/receipts/?payment=held", "/receipts/macbook-001/r_0/")


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[StreamingReplica]:
    """The console has a replica, which Django is told before a test begins."""
    with streaming_replica() as started, as_replica(str(started.socket_folder)):
        yield started


@pytest.fixture
def statements(
    server: StreamingReplica, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """The statements that the replica was sent."""
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        if "pg_last_wal_replay_lsn" not in sql:
            seen.append(sql)
        return execute(sql, *more)

    server.catch_up()  # the database may just have been made anew
    reading.forget()
    monkeypatch.setattr(reading, "WAIT_SECONDS", 20.0)  # a busy machine is no replica that is behind
    with connections["replica"].execute_wrapper(note):
        yield seen
    reading.forget()


@pytest.fixture
def stocked(statements: list[str], node: Node) -> Node:
    now = timezone.now()
    earn(node, now - timedelta(minutes=90), state="held", rule="late")
    for number in range(4):
        ReceiptFactory(node=node, at=now - timedelta(minutes=20 - number), request_id=f"r_{number}")
    ReceiptFactory(node=NodeFactory.create(), at=now - timedelta(minutes=10))
    return node


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that does not replay need not be waited for."""
    monkeypatch.setattr(reading, "WAIT_SECONDS", 0.05)


def shown(browser: Browser, url: str) -> str:
    """The page, but for what differs each time."""
    page = text_of(browser.get(url))
    return re.sub(
        r'nonce="[^"]*"|<body[^>]*>|csrfmiddlewaretoken" value="[^"]*"|\d+ (sec|min)\w* ago', "", page
    )


def api_of(browser: Browser) -> Any:
    return browser.get("/v1/receipts?limit=3").json()


def file_of(browser: Browser) -> bytes:
    at = timezone.now().isoformat().replace("+00:00", "Z")
    answer = browser.get(f"/receipts/~export.jsonl?as_of={at}")
    return b"".join(answer.streaming_content)  # type: ignore[attr-defined]


def test_pages_api_and_files_are_those_of_the_primary(
    stocked: Node, operator: Browser, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for _ in range(2):
        statements.clear()
        pages = [shown(operator, url) for url in URLS]
        read_there = len(statements)
        found.append((pages, api_of(operator), file_of(operator)))
        assert (len(statements) > read_there > len(URLS)) == (len(found) == 1)
        monkeypatch.setattr(reading, "_is_up_to_date", lambda: False)
    assert found[0] == found[1]
    assert found[0][2].count(b"\n") == 5


def test_what_was_just_done_is_seen(stocked: Node, operator: Browser, statements: list[str]) -> None:
    for number in range(20):
        statements.clear()
        ReceiptFactory(node=stocked, request_id=f"new-{number}")
        assert operator.get(f"/receipts/macbook-001/new-{number}/").status_code == 200
        assert f"new-{number}" in text_of(operator.get("/receipts/"))
        assert statements


def test_a_replica_that_is_behind_shows_nothing_old_as_new(
    stocked: Node,
    operator: Browser,
    org: Org,
    server: StreamingReplica,
    statements: list[str],
    impatient: None,
) -> None:
    viewer = Browser().hold_session(make_user(Role.VIEWER))
    Node.objects.update(shared=True)
    server.catch_up()
    statements.clear()
    with server.behind():
        ReceiptFactory(node=stocked, request_id="unreplayed")
        assert "unreplayed" in text_of(operator.get("/receipts/"))
        assert operator.get("/receipts/macbook-001/unreplayed/").status_code == 200
        assert api_of(operator)["results"][0]["request_id"] == "unreplayed"
        assert b"unreplayed" in file_of(operator)
        Node.objects.filter(pk=stocked.pk).update(org=OrgFactory.create())
        assert operator.get("/receipts/macbook-001/unreplayed/").status_code == 404
        assert viewer.get("/receipts/macbook-001/unreplayed/").status_code == 404
        assert not lag_breaker.closed
        assert statements == []
    server.catch_up()
    reading.forget()
    assert operator.get("/receipts/").status_code == 200
    assert statements


def test_a_stopped_replica_is_missed_by_nobody_and_asked_rarely(
    stocked: Node,
    operator: Browser,
    server: StreamingReplica,
    monkeypatch: pytest.MonkeyPatch,
    statements: list[str],
) -> None:
    before = [shown(operator, url) for url in URLS]
    tried = []
    connect = ReplicaConnection.connect.__func__  # type: ignore[attr-defined]

    def counted(cls: type[ReplicaConnection], *args: Any, **options: Any) -> ReplicaConnection:
        tried.append(1)
        made: ReplicaConnection = connect(cls, *args, **options)
        return made

    monkeypatch.setattr(ReplicaConnection, "connect", classmethod(counted))
    monkeypatch.setattr(replica_breaker, "_open_seconds", 600.0)  # longer than this test
    server.stop()
    try:
        assert [shown(operator, url) for url in URLS] == before
        assert file_of(operator).count(b"\n") == 5
        assert not replica_breaker.closed
        assert breaker.closed
        assert len(tried) <= 2
    finally:
        server.start()
    reading.forget()
    statements.clear()
    assert [shown(operator, url) for url in URLS] == before
    assert statements


def test_a_replica_that_hangs_does_not_keep_a_page(
    stocked: Node,
    operator: Browser,
    server: StreamingReplica,
    statements: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator.get("/receipts/")
    assert statements
    connections["replica"].close()  # back to the pool, as at the end of a request
    monkeypatch.setattr(bounded, "CHECK_SECONDS", 0.5)
    with stopped(server.pid):
        assert "r_3" in text_of(operator.get("/receipts/"))
        assert not replica_breaker.closed
        assert breaker.closed


def test_a_conflict_with_recovery_is_read_again_on_the_primary(
    server: StreamingReplica, statements: list[str]
) -> None:
    def on_primary(sql: str) -> None:
        with psycopg.connect(
            host=os.environ["PGHOST"], dbname=connection.settings_dict["NAME"], autocommit=True
        ) as session:
            session.execute(sql)

    on_primary("CREATE TABLE trial AS SELECT 1 AS a")
    ran_on = []

    def work() -> str:
        ran_on.append(reading_connection().alias)
        if ran_on[-1] == "default":
            return "from the primary"
        with (
            ThreadPoolExecutor(1) as pool,
            connections["replica"].cursor() as cursor,
            transaction.atomic(using="replica"),
        ):
            cursor.execute("SELECT a FROM trial")
            pool.submit(on_primary, "DROP TABLE trial")
            cursor.execute("SELECT pg_sleep(60)")
        return "never"

    assert read(work) == "from the primary"
    assert ran_on == ["replica", "default"]
    assert breaker.closed
    assert read(lambda: reading_connection().alias) == "replica"


def test_a_read_that_takes_too_long_is_not_begun_again(statements: list[str]) -> None:
    ran = []

    def work() -> None:
        ran.append(1)
        with transaction.atomic(using="replica"), reading_connection().cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 50")
            cursor.execute("SELECT pg_sleep(60)")

    with pytest.raises(OperationalError) as caught:
        read(work)
    assert isinstance(caught.value.__cause__, QueryCanceled)
    assert ran == [1]


def test_within_a_transaction_the_primary_is_read(stocked: Node, statements: list[str]) -> None:
    with transaction.atomic():
        ReceiptFactory(node=stocked, request_id="uncommitted")
        assert read(lambda: Receipt.objects.filter(request_id="uncommitted").count()) == 1
    assert statements == []


def test_what_was_read_there_is_written_and_followed_on_the_primary(
    stocked: Node, statements: list[str]
) -> None:
    receipt = read(lambda: Receipt.objects.select_related(None).filter(request_id="r_1").get())
    assert statements
    statements.clear()
    assert receipt.node.pk == stocked.pk
    node = read(lambda: Node.objects.get(pk=stocked.pk))
    count = len(statements)
    node.shared = True
    node.save(update_fields=["shared"])
    assert Node.objects.get(pk=stocked.pk).shared
    assert len(statements) == count == 1


def test_a_server_that_is_no_replica_is_not_read(
    stocked: Node, statements: list[str], impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a promotion, when it has a history of its own."""
    replica = connections["replica"]
    replica.close()
    replica.close_pool()  # type: ignore[attr-defined]
    statements.clear()
    with monkeypatch.context() as patch:
        patch.setitem(replica.settings_dict, "HOST", os.environ["PGHOST"])
        assert read(lambda: reading_connection().alias) == "default"
        assert not reading.answers()
    assert statements == []
    replica.close()
    replica.close_pool()  # type: ignore[attr-defined]
