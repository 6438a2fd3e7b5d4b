"""Requests through PgBouncer in transaction mode: the contract holds, and nobody meets what another has left."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import httpx
import psycopg
import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connections, transaction
from pytest_django import Settings

from jatevo.accounts.models import Role
from jatevo.local import checks
from jatevo.web.postgresql.base import DatabaseWrapper
from jatevo.web.postgresql.budgets import COMMAND, INGEST, PAGE, WORKER, Work, working
from jatevo.web.postgresql.connections import breaker
from nodes.models import Node
from receipts.models import Receipt
from tests import pgbouncer
from tests.accounts.people import PASSWORD
from tests.earnings.rows import make_rate
from tests.factories import (
    NodeFactory,
    OrgFactory,
    UserFactory,
    ValidatorFactory,
)
from tests.machines import SignedSender
from tests.pgbouncer import ROLE, SESSIONS, Pooler
from tests.web.contract_client import ContractClient
from tests.web.serving import BASE_DIR, ServerUnderTest, services_environment, serving

pytestmark = pytest.mark.django_db(transaction=True)

CLIENTS = 8
ROUNDS = 4
# What a client may have left in a session. PgBouncer itself sets the five parameters for each client.
LEFT = {
    "settings": "SELECT name || ' = ' || setting FROM pg_settings WHERE source = 'session' AND name NOT IN"
    " ('application_name', 'client_encoding', 'DateStyle', 'standard_conforming_strings', 'TimeZone')",
    "prepared statements": "SELECT statement FROM pg_prepared_statements",
    "cursors": "SELECT statement FROM pg_cursors WHERE name <> ''",
    "channels": "SELECT pg_listening_channels()",
    "locks": "SELECT objid::text FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
}


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    with pgbouncer.pooler() as started:
        yield started


@pytest.fixture
def database(pooler: Pooler) -> Iterator[DatabaseWrapper]:
    wrapper = pooler.wrapper()
    connections[wrapper.alias] = wrapper
    yield wrapper
    wrapper.close()
    wrapper.close_pool()
    del connections[wrapper.alias]


def asked_as(work: Work, database: DatabaseWrapper, sql: str) -> Any:
    with working(work):
        try:
            with database.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone()[0]
        finally:
            database.close()


def left_in_sessions(pooler: Pooler) -> list[tuple[str, str]]:
    """What is left in each of the pooler's sessions. Transactions that are open together are in different ones."""
    found = []
    with closing(pooler.connect()) as one, closing(pooler.connect()) as other:
        pids = {each.execute("SELECT pg_backend_pid()").fetchone() for each in (one, other)}
        assert len(pids) == SESSIONS
        for each in (one, other):
            for kind, sql in LEFT.items():
                found += [(kind, row[0]) for row in each.execute(sql).fetchall()]
    return found


def test_the_contract_holds_with_many_clients_and_two_sessions(
    pooler: Pooler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = OrgFactory.create()
    admin = UserFactory.create(email="admin@example.org", role=Role.ADMIN)
    make_rate()
    nodes = [NodeFactory.create(id=f"node-{number}", org=org, status="active") for number in range(CLIENTS)]
    validator = ValidatorFactory.create()
    direct = services_environment(tmp_path)["DATABASE_URL"]
    limits = {f"JATEVO_LIMIT_{name}": "1000/second" for name in ("NODE", "RECEIPTS", "PAGES", "EXPORTS")}
    for name, value in {"DATABASE_DIRECT_URL": direct, **limits}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tests.web.serving.services_environment", _through(pooler))
    with serving(ServerUnderTest.GRANIAN, tmp_path) as web, serving(ServerUnderTest.LANE, tmp_path) as lane:
        person, exporting = _signed_in(web, admin.email), Lock()

        def live(number: int) -> None:
            with httpx.Client(cookies=person, trust_env=False, timeout=60) as http:
                client = ContractClient(http, nodes[number], SignedSender.validator(validator))
                for port in (web, lane) * (ROUNDS // 2):
                    client.post_all(port)
                    client.read_all(web)
                    with exporting:
                        client.export_all(web)
                client.register(web, f"new-{number}")

        with ThreadPoolExecutor(CLIENTS) as at_once:
            for done in [at_once.submit(live, number) for number in range(CLIENTS)]:
                done.result()
        with psycopg.connect(direct) as server:
            ((sessions,),) = server.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [ROLE]
            ).fetchall()
    assert sessions <= SESSIONS
    assert Receipt.objects.count() == CLIENTS * ROUNDS * 3
    assert Node.objects.count() == CLIENTS * 2
    assert left_in_sessions(pooler) == []


def test_what_is_left_in_a_session_would_be_found(pooler: Pooler) -> None:
    with closing(pooler.connect()) as careless:
        careless.autocommit = True
        careless.execute("SET statement_timeout = '1min'")
    assert left_in_sessions(pooler) == [("settings", "statement_timeout = 60000")]


def test_limits_of_one_kind_of_work_reach_no_other(database: DatabaseWrapper) -> None:
    assert asked_as(WORKER, database, "SHOW statement_timeout") == "1min"
    assert asked_as(COMMAND, database, "SELECT set_config('statement_timeout', '7min', false)") == "7min"
    with working(PAGE), transaction.atomic(using=database.alias), database.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', '300ms', true), pg_backend_pid()")
        ((_, session),) = cursor.fetchall()
    database.close()
    for work in (INGEST, PAGE):
        assert asked_as(work, database, "SELECT pg_backend_pid()") == session
        assert asked_as(work, database, "SHOW statement_timeout") == pgbouncer.LIMITS["statement_timeout"]
        assert asked_as(work, database, "SHOW lock_timeout") == pgbouncer.LIMITS["lock_timeout"]


def test_the_worker_and_commands_go_past_the_pooler(database: DatabaseWrapper) -> None:
    with working(WORKER):
        worker = database.get_connection_params()
    with working(PAGE):
        page = database.get_connection_params()
    assert (page["port"], page["user"]) == (database.settings_dict["PORT"], ROLE)
    assert "options" not in page
    assert "port" not in worker
    assert "statement_timeout=60000" in worker["options"]


def test_rows_are_read_in_chunks_while_others_use_the_session(database: DatabaseWrapper) -> None:
    """A server-side cursor outside of a transaction would stay in a session that somebody else has next."""
    for _ in range(5):
        NodeFactory.create()
    with working(PAGE):
        database.ensure_connection()
    # as the body of an export is read, which is when the request's kind of work is over
    rows = Node.objects.using(database.alias).order_by("id").iterator(chunk_size=1)
    first = next(rows)
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django%'")
        assert cursor.fetchone() == (0,)
    assert len([first, *rows]) == 5
    database.close()


def test_a_request_that_gives_up_leaves_no_statement_and_no_broken_session(
    database: DatabaseWrapper, pooler: Pooler
) -> None:
    quick = Work("quick", statement_seconds=0.2, lock_seconds=0.2, total_seconds=0.5, pool_seconds=0.5)
    for _ in range(SESSIONS + 1):
        with pytest.raises(OperationalError, match="did not answer"):
            asked_as(quick, database, "SELECT pg_sleep(60)")
    assert breaker.closed, "the server is slow, not hung"
    assert asked_as(PAGE, database, "SELECT 1") == 1
    assert left_in_sessions(pooler) == []


def test_a_worker_through_the_pooler_ends_with_a_sentence(pooler: Pooler, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "worker"],
        cwd=BASE_DIR,
        env=services_environment(tmp_path) | {"DATABASE_URL": pooler.url},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 1
    assert "Set DATABASE_DIRECT_URL to PostgreSQL itself" in ended.stderr


def _ids(found: list[Any]) -> list[str | None]:
    return [message.id for message in found]


def test_the_check_refuses_migrations_through_the_pooler(database: DatabaseWrapper) -> None:
    assert _ids(run_checks(tags=["database"], databases=[database.alias])) == []
    database.settings_dict["DIRECT"] = None
    assert _ids(run_checks(tags=["database"], databases=[database.alias])) == ["web.E001"]


def test_the_check_warns_of_a_role_without_limits(database: DatabaseWrapper) -> None:
    with psycopg.connect(**connections["default"].get_connection_params(), autocommit=True) as server:
        server.execute(f"ALTER ROLE {ROLE} RESET statement_timeout")
        server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = %s", [ROLE]
        )
    assert _ids(run_checks(tags=["database"], databases=[database.alias])) == ["web.W001"]


def test_statements_are_prepared_by_default_only_without_a_pooler(settings: Settings, pooler: Pooler) -> None:
    shown = "from django.conf import settings; print(settings.DATABASE_PREPARES_STATEMENTS)"
    environment = services_environment(settings.STATIC_ROOT.parent) | {
        "DJANGO_SETTINGS_MODULE": "jatevo.settings"
    }

    def default(**more: str) -> str:
        command = [sys.executable, "-c", shown]
        return subprocess.check_output(command, cwd=BASE_DIR, env=environment | more, text=True).strip()

    assert default() == "True"
    assert default(DATABASE_DIRECT_URL="postgres:///jatevo") == "False"
    assert default(DATABASE_DIRECT_URL="postgres:///jatevo", JATEVO_DB_PREPARED_STATEMENTS="true") == "True"


def _through(pooler: Pooler) -> Any:
    return lambda folder: services_environment(folder) | {"DATABASE_URL": pooler.url}


def _signed_in(port: int, email: str) -> dict[str, str]:
    answer = httpx.post(
        f"http://{checks.LOOPBACK}:{port}/v1/auth/login",
        json={"email": email, "password": PASSWORD},
        trust_env=False,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return {**answer.cookies}
