"""If ClickHouse hangs, is down, slow or misused, the error is quick and clear, and it recovers."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.store import MetricsUnavailable, QueryRefused, Store, get_store, patient_store
from jatevo.metrics.transport import CircuitOpen, Param, Row
from jatevo.web.breaker import CircuitBreaker
from tests.metrics import clickhouse_server as real_server
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.wrappers import Intercepted

TIMEOUT_SECONDS = 2.0
ROOT = Path(__file__).parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted(Intercepted):
    """Answers each execute() with its next outcome, and counts the calls."""

    def __init__(self, inner: Store, *outcomes: Exception | None) -> None:
        super().__init__(inner)
        self.outcomes = list(outcomes)
        self.calls = 0

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return []


def down() -> MetricsUnavailable:
    return MetricsUnavailable("down")


def test_the_circuit_opens_after_three_failures_and_closes_by_one_success(chdb_store: Store) -> None:
    clock = Clock()
    transport = Scripted(chdb_store, down(), down(), down(), down(), None, None)
    store = Store(transport, CircuitBreaker("trial", threshold=3, open_seconds=5, clock=clock))
    for _ in range(3):
        with pytest.raises(MetricsUnavailable, match="down"):
            store.execute("SELECT 1")
    clock.now += 4.9
    with pytest.raises(CircuitOpen):
        store.execute("SELECT 1")
    assert transport.calls == 3
    clock.now += 0.1
    with pytest.raises(MetricsUnavailable, match="down"):  # the trial of the half-open circuit
        store.execute("SELECT 1")
    with pytest.raises(CircuitOpen):
        store.execute("SELECT 1")
    clock.now += 5
    store.execute("SELECT 1")
    store.execute("SELECT 1")
    assert transport.calls == 6


def test_successes_between_failures_keep_the_circuit_closed(chdb_store: Store) -> None:
    transport = Scripted(chdb_store, down(), down(), None, down(), down(), None)
    store = Store(transport, CircuitBreaker("trial", threshold=3, open_seconds=5, clock=Clock()))
    for _ in range(6):
        failing = transport.outcomes[0] is not None
        with pytest.raises(MetricsUnavailable) if failing else no_error():
            store.execute("SELECT 1")
    assert transport.calls == 6


def test_a_refusal_is_an_answer_and_opens_nothing(chdb_store: Store) -> None:
    transport = Scripted(chdb_store, *[QueryRefused("syntax", 62)] * 5)
    store = Store(transport, CircuitBreaker("trial", threshold=3, open_seconds=5, clock=Clock()))
    for _ in range(5):
        with pytest.raises(QueryRefused):
            store.execute("SELEC")


def test_only_one_caller_tries_a_half_open_circuit() -> None:
    clock = Clock()
    breaker = CircuitBreaker("trial", threshold=1, open_seconds=5, clock=clock)
    assert breaker.allows()
    breaker.failed()
    clock.now += 5
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


@contextmanager
def no_error() -> Iterator[None]:
    yield


@pytest.fixture
def transport(clickhouse_server: ClickHouseServer) -> Iterator[NativeTransport]:
    transport = NativeTransport(clickhouse_server.url("default"), timeout_seconds=TIMEOUT_SECONDS)
    yield transport
    transport.close()


@contextmanager
def unavailable_within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(MetricsUnavailable):
        yield
    assert time.monotonic() - started < seconds


CALLS: list[Callable[[NativeTransport], object]] = [
    lambda transport: transport.execute("SELECT 1"),
    lambda transport: transport.insert("trial", ["a"], [("x",)]),
    lambda transport: transport.create_database(),
]


@pytest.mark.parametrize("call", CALLS, ids=["execute", "insert", "create_database"])
@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "fresh"])
def test_a_hung_server_costs_no_more_than_the_timeout(
    clickhouse_server: ClickHouseServer,
    transport: NativeTransport,
    call: Callable[[NativeTransport], object],
    is_connected: bool,
) -> None:
    if is_connected:
        transport.ping()
    clickhouse_server.pause()
    try:
        with unavailable_within(2 * TIMEOUT_SECONDS):
            call(transport)
    finally:
        clickhouse_server.resume()
    transport.ping()


def test_a_slow_query_is_ended_by_the_server(transport: NativeTransport) -> None:
    with unavailable_within(9):
        transport.execute("SELECT sleep(1) FROM numbers(10) SETTINGS max_block_size = 1")
    transport.ping()


def test_a_backfill_may_take_longer_than_a_page(
    clickhouse_server: ClickHouseServer, settings: Settings
) -> None:
    settings.CLICKHOUSE_URL = clickhouse_server.url("default")
    settings.CLICKHOUSE_TIMEOUT_SECONDS = 0.4
    silent = "SELECT sleep(1)"  # longer than a page's connection waits for a sign of life
    get_store().ping()
    with pytest.raises(MetricsUnavailable):
        get_store().execute(silent)
    get_store().close()
    store = patient_store()
    assert store.execute(silent) == [(0,)]
    store.close()


def test_the_migration_of_a_hung_server_ends_soon(
    clickhouse_server: ClickHouseServer, settings: Settings
) -> None:
    settings.CLICKHOUSE_URL = clickhouse_server.url("hung")
    settings.CLICKHOUSE_TIMEOUT_SECONDS = TIMEOUT_SECONDS
    clickhouse_server.pause()
    started = time.monotonic()
    try:
        with pytest.raises(CommandError, match="was not migrated"):
            call_command("metrics_migrate")
    finally:
        clickhouse_server.resume()
    assert time.monotonic() - started < 2 * TIMEOUT_SECONDS


def test_without_a_server_the_patient_store_is_the_only_one(chdb_store: Store) -> None:
    assert patient_store() is chdb_store


def test_a_slow_query_is_ended_in_chdb(chdb_store: Store) -> None:
    with unavailable_within(25):
        chdb_store.execute("SELECT sleep(1) FROM numbers(30) SETTINGS max_block_size = 1")
    chdb_store.ping()


def test_a_restarted_server_is_found_again(
    clickhouse_server: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    binary = real_server.find_binary()
    assert binary is not None
    server = real_server.start(binary, tmp_path_factory.mktemp("mortal"))
    transport = NativeTransport(server.url("default"), timeout_seconds=TIMEOUT_SECONDS)
    try:
        transport.ping()
        real_server.stop(server)
        with unavailable_within(2 * TIMEOUT_SECONDS):
            transport.ping()
        server = real_server.start(binary, tmp_path_factory.mktemp("reborn"), port=server.port)
        transport.ping()
    finally:
        real_server.stop(server)
        transport.close()


def test_a_wrong_password_is_an_outage_and_not_a_crash(clickhouse_server: ClickHouseServer) -> None:
    url = clickhouse_server.url("default").replace("p%40ss%3Aword", "wrong")
    with pytest.raises(MetricsUnavailable):
        NativeTransport(url, timeout_seconds=TIMEOUT_SECONDS).ping()


def test_settings_choose_the_transport(
    clickhouse_server: ClickHouseServer, settings: Settings, chdb_store: Store
) -> None:
    assert get_store() is get_store() is chdb_store
    settings.CLICKHOUSE_URL = clickhouse_server.url("default")
    assert get_store() is not chdb_store
    assert get_store().execute("SELECT timezone()") == [("Asia/Tokyo",)]
    get_store().close()


FORKED = """
import os, sys
from jatevo.metrics.chdb_transport import ChdbTransport
transport = ChdbTransport(sys.argv[1], timeout_seconds=2.0)
transport.ping()
child = os.fork()
if child == 0:
    try:
        transport.ping()
    except RuntimeError as error:
        transport.close()
        print(type(error).__name__, error, flush=True)
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
transport.ping()
transport.close()
"""


def run_python(script: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return finished.stdout


def test_chdb_in_a_forked_child_says_so_instead_of_hanging(tmp_path: Path) -> None:
    said, exit_code = run_python(FORKED, str(tmp_path / "chdb")).splitlines()
    assert said.startswith("ForkedProcess chDB was opened by process")
    assert "CLICKHOUSE_URL" in said
    assert exit_code == "7"


FORKED_CLIENT = """
import os, sys
from jatevo.metrics.native_transport import NativeTransport
transport = NativeTransport(sys.argv[1], timeout_seconds=2.0)
transport.ping()
child = os.fork()
answers = [transport.execute("SELECT {n}", {"n": n + bool(child) * 1000})[0][0] for n in range(100)]
right = answers == [n + bool(child) * 1000 for n in range(100)]
if child == 0:
    os._exit(0 if right else 7)
print(right, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_parent_and_forked_child_never_share_a_connection(clickhouse_server: ClickHouseServer) -> None:
    assert run_python(FORKED_CLIENT, clickhouse_server.url("default")) == "True 0\n"


SECOND_PROCESS = """
import sys
from jatevo.metrics.chdb_transport import ChdbTransport
from jatevo.metrics.transport import MetricsUnavailable
try:
    ChdbTransport(sys.argv[1], timeout_seconds=2.0).ping()
except MetricsUnavailable as error:
    print(error)
"""


def test_chdb_in_a_second_process_is_refused_with_the_reason(chdb_store: Store, settings: Settings) -> None:
    chdb_store.ping()
    folder = str(settings.CHDB_PATH)
    assert "another process has it open" in run_python(SECOND_PROCESS, folder)


def test_chdb_reopens_after_a_close(chdb_store: Store) -> None:
    chdb_store.execute("DROP TABLE IF EXISTS kept")
    chdb_store.execute("CREATE TABLE kept (a String) ENGINE = MergeTree ORDER BY a")
    chdb_store.insert("kept", ["a"], [("x",)])
    chdb_store.close()
    assert chdb_store.execute("SELECT a FROM kept") == [("x",)]
    chdb_store.execute("DROP TABLE kept")
