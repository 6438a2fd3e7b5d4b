"""The one-machine console while a store hangs or a table is locked: its answers, and its recovery.

These tests check status and shape. tests/chaos/test_stopped_stores.py checks the times under load.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import psycopg
import pytest

from jatevo.local.postgres import DATABASE, SUPERUSER
from tests import template_home
from tests.chaos.console_process import ConsoleProcess
from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person
from tests.stopping import stopped

NOTICED_SECONDS = 20.0

pytestmark = pytest.mark.timeout(900)  # a start, on whatever else the machine is doing

BACK_SECONDS = 60.0
HTMX = {"HX-Request": "true", "HX-Target": "nodes-list"}


@pytest.fixture(scope="module")
def console() -> Iterator[ConsoleProcess]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = ConsoleProcess(port)
    template_home.copy_into(process.home)
    try:
        process.start()
        yield process
    finally:
        process.remove()


@pytest.fixture(scope="module")
def node(console: ConsoleProcess) -> Iterator[InsistentNode]:
    with closing(Person(console, "operator")) as operator:
        token = operator.request("POST", "/v1/enrollments", json={"node_id": "hung-1"})["token"]
    made = InsistentNode(console.url, "hung-1", token)
    yield made
    made.start()
    made.finish(timeout_seconds=30)


@pytest.fixture(scope="module")
def admin(console: ConsoleProcess) -> Iterator[httpx.Client]:
    """An admin in a browser."""
    with httpx.Client(base_url=console.url, timeout=60, trust_env=False) as client:
        assert client.post("/v1/auth/login", json=console.credentials("admin")).status_code == 200
        yield client


@pytest.fixture
def settled(console: ConsoleProcess, admin: httpx.Client) -> Iterator[None]:
    """Everything works before a test and recovers by itself after it."""
    wait_until_ready(admin)
    yield
    wait_until_ready(admin)
    assert admin.get("/nodes/").status_code == 200


def wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + BACK_SECONDS
    while (answer := client.get("/readyz")).json()["status"] != "ready":
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def is_unavailable(answer: httpx.Response) -> bool:
    """Whether it is a 503 in the API's shape, with a Retry-After."""
    return (
        answer.status_code == 503
        and answer.json()["error"]["type"] == "unavailable"
        and int(answer.headers["Retry-After"]) > 0
    )


def assert_quick_paths_live(client: httpx.Client) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/static/favicon.svg").status_code == 200


def log_of(console: ConsoleProcess) -> str:
    return (console.home / "logs" / "console.log").read_text()


def wait_until_shipped(console: ConsoleProcess) -> None:
    """The worker continues by itself, so accepted facts reach ClickHouse."""
    deadline = time.monotonic() + BACK_SECONDS
    with database(console) as connection:
        while connection.execute("SELECT count(*) FROM metrics_outbox").fetchone() != (0,):
            assert time.monotonic() < deadline
            connection.rollback()
            time.sleep(0.1)


def database(console: ConsoleProcess) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(host=str(console.home / "run" / "pg"), user=SUPERUSER, dbname=DATABASE)


@contextmanager
def nodes_locked(console: ConsoleProcess) -> Iterator[None]:
    with database(console) as holder:
        holder.execute("LOCK TABLE nodes_node IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.usefixtures("settled")
def test_without_postgresql_every_answer_says_so(
    console: ConsoleProcess, admin: httpx.Client, node: InsistentNode
) -> None:
    receipt = node.receipt()
    with stopped(console.store_pid("postgres")):
        assert_quick_paths_live(admin)
        assert is_unavailable(node.send("/v1/receipts", receipt))
        assert is_unavailable(node.beat())
        assert is_unavailable(admin.get("/v1/nodes"))
        assert is_unavailable(admin.post("/v1/auth/login", json=console.credentials("viewer")))

        for path in ("/", "/nodes/", "/receipts/", "/status/", "/nodes/hung-1/", "/admin/"):
            page = admin.get(path)
            assert page.status_code == 503, path
            assert "database is not responding" in page.text
            assert page.text.rstrip().endswith("</html>")
            assert "no-store" in page.headers["Cache-Control"]
            assert int(page.headers["Retry-After"]) > 0
        part = admin.get("/nodes/", headers=HTMX)
        assert part.status_code == 503
        assert "data-outage" in part.text
        assert "<html" not in part.text

        ready = admin.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["status"] == "unavailable"
        assert ready.json()["stores"]["postgresql"] == "unavailable"
        assert_quick_paths_live(admin)
    wait_until_ready(admin)
    assert node.send("/v1/receipts", receipt).status_code in (200, 201)
    assert node.beat().status_code == 200
    wait_until_shipped(console)
    assert "Service Unavailable" not in log_of(console), "one line says it, not one for each request"


@pytest.mark.usefixtures("settled")
def test_a_held_lock_affects_only_requests_that_need_the_table(
    console: ConsoleProcess, admin: httpx.Client, node: InsistentNode
) -> None:
    with nodes_locked(console):
        assert is_unavailable(node.beat())
        assert is_unavailable(admin.get("/v1/nodes"))
        page = admin.get("/nodes/")
        assert page.status_code == 503
        assert "database is not responding" in page.text
        assert admin.get("/v1/users/me").status_code == 200, "PostgreSQL answers: the breaker stays closed"
        signed_in = admin.post("/v1/auth/login", json=console.credentials("admin"))
        assert signed_in.status_code == 200
        assert admin.get("/readyz").json()["status"] == "ready"
        assert_quick_paths_live(admin)
    assert node.beat().status_code == 200
    assert "canceling statement due to lock timeout" in log_of(console)


@pytest.mark.usefixtures("settled")
def test_without_redis_all_goes_on(console: ConsoleProcess, admin: httpx.Client, node: InsistentNode) -> None:
    with stopped(console.store_pid("valkey")):
        receipt = node.receipt()
        for _ in range(3):
            assert node.beat().status_code == 200
        assert node.send("/v1/receipts", receipt).status_code == 201
        again = node.send("/v1/receipts", receipt)
        assert (again.status_code, again.json()["duplicate"]) == (200, True)
        for path in ("/", "/nodes/", "/status/", "/v1/summary", "/v1/nodes"):
            assert admin.get(path).status_code == 200, path
        signed_in = admin.post("/v1/auth/login", json=console.credentials("admin"))
        assert signed_in.status_code == 200
        deadline = time.monotonic() + NOTICED_SECONDS
        while (ready := admin.get("/readyz")).json()["status"] != "degraded":
            assert time.monotonic() < deadline, ready.text
        assert ready.status_code == 200
        assert ready.json() == {
            "status": "degraded",
            "stores": {"postgresql": "ok", "redis": "unavailable", "clickhouse": "ok"},
        }
        assert_quick_paths_live(admin)
