"""The PostgreSQL backend: the longest wait of a request, and the effects of a hung server or a held lock."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from jatevo.web.postgresql import connections as bounded
from jatevo.web.postgresql.base import DatabaseWrapper
from jatevo.web.postgresql.budgets import COMMAND, INGEST, PAGE, WORKER, Work, current_work, working
from jatevo.web.postgresql.connections import BoundedConnection, breaker
from tests.stopping import stopped
from tests.web.hung_postgresql import HungPostgreSQL, private_postgresql

pytestmark = pytest.mark.django_db

QUICK_SECONDS = 0.65
QUICK = Work("quick", statement_seconds=0.4, lock_seconds=0.2, total_seconds=QUICK_SECONDS, pool_seconds=0.3)
SLOW_MACHINE_SECONDS = 5.0  # on top of what may be waited: others use the processors, too


@pytest.fixture(scope="module")
def server() -> Iterator[HungPostgreSQL]:
    with private_postgresql() as started:
        yield started


@pytest.fixture
def database(server: HungPostgreSQL) -> Iterator[DatabaseWrapper]:
    wrapper = server.wrapper()
    yield wrapper
    wrapper.close()
    wrapper.close_pool()


def ask(database: DatabaseWrapper, sql: str = "SELECT 1") -> Any:
    with database.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def asked_as(work: Work, database: DatabaseWrapper, sql: str = "SELECT 1") -> Any:
    """Runs one request's query and returns its connection afterwards."""
    with working(work):
        try:
            return ask(database, sql)
        finally:
            database.close()


@pytest.mark.parametrize(
    ("work", "statement", "lock"),
    [(INGEST, "2s", "1s"), (PAGE, "5s", "2s"), (WORKER, "1min", "10s"), (COMMAND, "0", "10s")],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_server_knows_the_limits_of_each_kind_of_work(
    database: DatabaseWrapper, work: Work, statement: str, lock: str
) -> None:
    assert asked_as(work, database, "SHOW statement_timeout") == statement
    assert asked_as(work, database, "SHOW lock_timeout") == lock


def test_a_connection_is_used_again_and_belongs_to_its_kind(database: DatabaseWrapper) -> None:
    pages = {asked_as(PAGE, database, "SELECT pg_backend_pid()") for _ in range(5)}
    assert len(pages) == 1
    assert asked_as(INGEST, database, "SELECT pg_backend_pid()") not in pages


def test_a_statement_that_takes_too_long_is_ended_by_the_server(database: DatabaseWrapper) -> None:
    with pytest.raises(OperationalError, match="statement timeout"):
        asked_as(QUICK, database, "SELECT pg_sleep(30)")
    assert breaker.closed, "it answers"


def test_what_one_request_waits_is_added_up(database: DatabaseWrapper) -> None:
    with working(QUICK), pytest.raises(OperationalError, match="did not answer within"):
        for _ in range(10):
            ask(database, "SELECT pg_sleep(0.2)")
    database.close()
    assert breaker.closed, "the server is slow, not hung"
    assert asked_as(QUICK, database) == 1, "the next request has its own time"


def test_a_held_lock_fails_only_queries_that_need_it(
    server: HungPostgreSQL, database: DatabaseWrapper
) -> None:
    holder = server.wrapper()
    ask(database, "CREATE TABLE IF NOT EXISTS wanted (n int)")
    database.close()
    with transaction_on(holder):
        ask(holder, "LOCK TABLE wanted")
        with pytest.raises(OperationalError, match="lock timeout"):
            asked_as(QUICK, database, "SELECT count(*) FROM wanted")
        assert breaker.closed
        assert asked_as(QUICK, database) == 1
    holder.close()


def test_a_hung_server_opens_the_breaker_and_is_found_again(
    server: HungPostgreSQL, database: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "CHECK_SECONDS", 0.2)
    clock = [1000.0]
    monkeypatch.setattr(breaker, "_clock", lambda: clock[0])
    assert asked_as(QUICK, database) == 1
    with stopped(server.pid):
        with pytest.raises(OperationalError, match="did not answer"):
            asked_as(QUICK, database)
        assert not breaker.closed
        for _ in range(20):
            with pytest.raises(OperationalError, match="a moment ago"):
                asked_as(QUICK, database)
        clock[0] += 2.0
        with pytest.raises(OperationalError):  # the trial
            asked_as(QUICK, database)
        with pytest.raises(OperationalError, match="a moment ago"):
            asked_as(QUICK, database)
    clock[0] += 2.0
    assert asked_as(WORKER, database) == 1  # which has patience: connecting may take its time here
    assert breaker.closed
    assert asked_as(WORKER, database) == 1


def test_a_statement_under_way_ends_when_the_server_hangs(
    server: HungPostgreSQL, database: DatabaseWrapper
) -> None:
    with working(QUICK):
        ask(database)
        with stopped(server.pid):
            began = time.monotonic()
            with pytest.raises(OperationalError, match="did not answer within"):
                ask(database)
            assert time.monotonic() - began < QUICK_SECONDS + SLOW_MACHINE_SECONDS
        database.close()
    assert asked_as(WORKER, database) == 1


def test_a_request_that_lost_its_connection_ends_without_a_new_one(
    server: HungPostgreSQL, database: DatabaseWrapper
) -> None:
    with working(QUICK):
        ask(database)
        with stopped(server.pid), pytest.raises(OperationalError):
            ask(database)
    database.close_if_unusable_or_obsolete()  # as at the end of each request, when its kind of work is over
    assert database.connection is None


def test_a_transaction_under_way_ends_and_its_thread_can_go_on(
    server: HungPostgreSQL, database: DatabaseWrapper
) -> None:
    ask(database, "CREATE TABLE IF NOT EXISTS written (n int)")
    database.close()
    with working(QUICK), pytest.raises(OperationalError), transaction_on(database):
        ask(database, "INSERT INTO written VALUES (1)")
        with stopped(server.pid):
            ask(database, "INSERT INTO written VALUES (2)")
    with working(WORKER):
        breaker.reset()
        assert ask(database, "SELECT count(*) FROM written") == 0
    database.close()


def test_a_command_s_connection_that_died_is_replaced(database: DatabaseWrapper) -> None:
    first = ask(database, "SELECT pg_backend_pid()")
    with pytest.raises(OperationalError):
        ask(database, f"SELECT pg_terminate_backend({first})")
    assert ask(database, "SELECT pg_backend_pid()") != first


def test_a_pool_that_is_used_up_is_waited_for_in_vain_only_so_long(
    server: HungPostgreSQL, database: DatabaseWrapper, settings: Any
) -> None:
    settings.DATABASE_POOL_SIZE = 2
    lent = [server.wrapper() for _ in range(2)]
    with working(QUICK):
        for wrapper in lent:
            ask(wrapper)
        with pytest.raises(OperationalError, match="couldn't get a connection"):
            ask(database)
        assert breaker.closed, "the server has done nothing wrong"
        lent[0].close()
    assert asked_as(QUICK, database) == 1
    lent[1].close()


def test_a_crowd_that_meets_a_hung_server_waits_once(
    server: HungPostgreSQL, database: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No queue builds up: requests after the first few are answered at once."""
    monkeypatch.setattr(bounded, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(breaker, "_clock", lambda: 1000.0)
    asked_as(QUICK, database)
    refused = threading.Semaphore(0)

    def one(_: int) -> None:
        own = server.wrapper()
        for _ in range(20):
            with pytest.raises(OperationalError):
                asked_as(QUICK, own)
            refused.release()

    began = time.monotonic()
    with stopped(server.pid), ThreadPoolExecutor(16) as crowd:
        list(crowd.map(one, range(16)))
    assert time.monotonic() - began < SLOW_MACHINE_SECONDS, "320 questions, none of which was answered"


def test_a_connection_that_just_answered_is_lent_without_a_check(
    database: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[BoundedConnection] = []
    check = BoundedConnection.check

    def counted(connection: BoundedConnection) -> None:
        checked.append(connection)
        check(connection)

    monkeypatch.setattr(BoundedConnection, "check", counted)
    fresh = replace(QUICK, name="fresh", fresh_seconds=3600.0)
    asked_as(fresh, database)
    checked.clear()
    assert asked_as(fresh, database) == 1
    assert not checked
    breaker.failed("of another connection")
    monkeypatch.setattr(breaker, "_clock", lambda: time.monotonic() + 3600)
    assert asked_as(fresh, database) == 1
    assert len(checked) == 1, "while the server is in doubt, each is checked"
    assert breaker.closed
    for _ in range(2):
        asked_as(replace(fresh, name="old", fresh_seconds=0.0), database)
    assert len(checked) >= 2, "one that answered longer ago is checked"


def test_a_connection_that_died_since_its_last_answer_fails_one_request_at_most(
    database: DatabaseWrapper,
) -> None:
    fresh = replace(QUICK, name="fresh", fresh_seconds=3600.0)
    pid = asked_as(fresh, database, "SELECT pg_backend_pid()")
    asked_as(WORKER, database, f"SELECT pg_terminate_backend({pid}, 10000)")
    with pytest.raises(OperationalError):
        asked_as(fresh, database)
    assert asked_as(fresh, database, "SELECT pg_backend_pid()") != pid


def test_work_is_of_its_thread_and_ends() -> None:
    with working(INGEST):
        assert current_work() is INGEST
        with working(PAGE):
            assert current_work() is PAGE
        assert current_work() is INGEST
        with ThreadPoolExecutor(1) as other:
            assert other.submit(current_work).result() is COMMAND
    assert current_work() is COMMAND


def transaction_on(wrapper: DatabaseWrapper) -> transaction.Atomic:
    """transaction.atomic() finds connections by alias, and only the test has this one."""

    class Own(transaction.Atomic):
        def __enter__(self) -> None:
            connections[wrapper.alias] = wrapper
            super().__enter__()

        def __exit__(self, *raised: Any) -> None:
            try:
                super().__exit__(*raised)
            finally:
                del connections[wrapper.alias]

    return Own(wrapper.alias, savepoint=True, durable=False)
