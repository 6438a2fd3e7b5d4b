"""Of many concurrent callers only one computes, across threads and processes, with and without Redis."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import TypeVar
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from django.core.cache import cache
from django.test import override_settings

from jatevo.local.children import Children
from jatevo.local.valkey import Valkey, start
from jatevo.web import throttling
from jatevo.web.single_flight import SingleFlight
from tests.stopping import pause

T = TypeVar("T")
REDIS_SECONDS = 2.0  # how long a Redis is waited for that a test has stopped

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CROWD = 200


def flight(*, key: str = "", patience_seconds: float = 5.0) -> SingleFlight[int]:
    """Fresh for 5 s, never older than 15 s; each one represents a separate process."""
    return SingleFlight(
        key or f"test:{uuid4()}",
        fresh_for=5 * SECOND,
        oldest=15 * SECOND,
        keep_seconds=60,
        patience_seconds=patience_seconds,
    )


class Computed:
    """Counts its calls. Each call returns the next number."""

    def __init__(self) -> None:
        self.times = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.times += 1
            return self.times


def all_at_once(ask: Callable[[], T], count: int = CROWD) -> list[T]:
    """The results of `count` threads that call at the same moment."""
    ready = threading.Barrier(count)

    def one(_: int) -> T:
        ready.wait()
        return ask()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.fixture(autouse=True)
def closed_breaker() -> Iterator[None]:
    throttling.breaker.reset()
    yield
    throttling.breaker.reset()


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A separate Valkey for cache and locks, which the test can stop."""
    home = Path(tempfile.mkdtemp(prefix="jatevo-"))
    children = Children(home / "run")
    started = start(home, children)
    throttling._client.cache_clear()
    normal = settings.CACHES["default"]
    limits = {"SOCKET_CONNECT_TIMEOUT": REDIS_SECONDS, "SOCKET_TIMEOUT": REDIS_SECONDS}
    caches = {"default": {**normal, "LOCATION": started.url, "OPTIONS": {**normal["OPTIONS"], **limits}}}
    with override_settings(CACHES=caches, REDIS_URL=started.url, REDIS_TIMEOUT_SECONDS=REDIS_SECONDS):
        yield started
    throttling._client().close()
    throttling._client.cache_clear()
    children.close()
    rmtree(home)


def test_two_hundred_misses_compute_once() -> None:
    shared, computed = flight(), Computed()
    assert all_at_once(lambda: shared.get(computed, at=NOON)) == [1] * CROWD
    assert computed.times == 1
    assert throttling.breaker.closed


def test_a_fresh_value_is_reused_and_an_old_one_is_computed_again() -> None:
    shared, computed = flight(), Computed()
    assert shared.get(computed, at=NOON) == 1
    assert shared.get(computed, at=NOON + 4.9 * SECOND) == 1
    assert shared.get(computed, at=NOON + 5 * SECOND) == 2
    assert shared.get(computed, at=NOON + 9 * SECOND) == 2


def test_a_value_from_the_future_is_not_believed_for_long() -> None:
    shared, computed = flight(), Computed()
    assert shared.get(computed, at=NOON) == 1
    assert shared.get(computed, at=NOON - 2 * SECOND) == 1  # the clock of another machine
    assert shared.get(computed, at=NOON - 6 * SECOND) == 2  # this clock was put back


def test_others_go_on_with_the_old_value_while_one_makes_a_new_one() -> None:
    shared, computed = flight(), Computed()
    shared.get(computed, at=NOON)
    begun, finish = threading.Event(), threading.Event()

    def slowly() -> int:
        begun.set()
        assert finish.wait(10)
        return 7

    with ThreadPoolExecutor(1) as pool:
        maker = pool.submit(lambda: shared.get(slowly, at=NOON + 6 * SECOND))
        assert begun.wait(10)
        assert all_at_once(lambda: shared.get(computed, at=NOON + 7 * SECOND), 20) == [1] * 20
        finish.set()
        assert maker.result() == 7
    assert computed.times == 1
    assert shared.get(computed, at=NOON + 7 * SECOND) == 7


def test_no_caller_gets_a_value_older_than_allowed() -> None:
    shared, computed = flight(), Computed()
    shared.get(computed, at=NOON)
    assert set(all_at_once(lambda: shared.get(computed, at=NOON + 15 * SECOND), 50)) == {2}
    assert computed.times == 2


def test_a_failure_reaches_the_caller_and_frees_the_next_one() -> None:
    shared, computed = flight(), Computed()

    def failing() -> int:
        raise ConnectionError("no database")

    for _ in range(2):
        with pytest.raises(ConnectionError, match="no database"):
            shared.get(failing, at=NOON)
    begun = time.monotonic()
    assert shared.get(computed, at=NOON) == 1
    assert time.monotonic() - begun < 5, "no lock was left behind"


def test_a_holder_that_died_stops_the_others_for_a_short_time_only(redis_client: redis.Redis) -> None:
    shared, computed = flight(key="test:orphaned", patience_seconds=0.4), Computed()
    # as a process leaves it that was killed while it computed; it would go by itself after a minute
    redis_client.set("jatevo-flight:test:orphaned", "somebody", px=60_000)
    begun = time.monotonic()
    assert shared.get(computed, at=NOON) == 1
    assert 0.3 < time.monotonic() - begun < 30
    assert shared.get(computed, at=NOON) == 1
    # if there is an old value, no caller waits, however much patience it has
    another = flight(key="test:orphaned", patience_seconds=40)
    begun = time.monotonic()
    assert another.get(computed, at=NOON + 6 * SECOND) == 1
    assert time.monotonic() - begun < 30


def test_a_lock_goes_by_itself(redis_client: redis.Redis) -> None:
    shared = flight(key="test:expires", patience_seconds=3.0)
    left: list[int] = []

    def computing() -> int:
        left.append(redis_client.pttl("jatevo-flight:test:expires"))
        return 1

    shared.get(computing, at=NOON)
    assert 0 < left[0] <= 3000
    assert redis_client.exists("jatevo-flight:test:expires") == 0


_PROCESS = """
import django
django.setup()
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from jatevo.web.single_flight import SingleFlight
from jatevo.web.throttling import client
shared = SingleFlight("test:processes", fresh_for=timedelta(seconds=5), oldest=timedelta(seconds=15), keep_seconds=60)
def compute():
    return client().incr("test:computed")
print("ready", flush=True)
sys.stdin.readline()
at = datetime(2026, 3, 4, 12, tzinfo=UTC)
with ThreadPoolExecutor(50) as pool:
    got = set(pool.map(lambda _: shared.get(compute, at=at), range(50)))
print(sorted(got), flush=True)
"""


def test_two_processes_compute_once_between_them(redis_client: redis.Redis) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "jatevo.settings"},
            cwd=settings.BASE_DIR,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdin is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=30)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert answers == ["[1]\n", "[1]\n"]
    assert redis_client.get("test:computed") == b"1"


def test_without_redis_each_process_computes_once_and_remembers(server: Valkey) -> None:
    server.child.process.kill()
    server.child.process.wait()
    shared, computed = flight(patience_seconds=40), Computed()
    begun = time.monotonic()
    assert all_at_once(lambda: shared.get(computed, at=NOON)) == [1] * CROWD
    assert shared.get(computed, at=NOON + 4 * SECOND) == 1
    assert shared.get(computed, at=NOON + 5 * SECOND) == 2
    assert time.monotonic() - begun < 30
    assert not throttling.breaker.closed


def test_a_locally_stored_value_yields_to_the_shared_one(server: Valkey) -> None:
    shared, computed = flight(), Computed()
    shared.get(computed, at=NOON)
    throttling.breaker.failed(TimeoutError("a hiccup"))
    assert shared.get(computed, at=NOON + SECOND) == 2  # it cannot be read just now
    assert shared.get(computed, at=NOON + 2 * SECOND) == 2
    throttling.breaker.reset()
    assert shared.get(computed, at=NOON + 2 * SECOND) == 1
    cache.clear()
    assert shared.get(computed, at=NOON + 2 * SECOND) == 3


def test_hanging_redis_costs_one_time_out(server: Valkey) -> None:
    shared, computed = flight(), Computed()
    pause(server.child.process.pid)
    try:
        begun = time.monotonic()
        assert shared.get(computed, at=NOON) == 1
        assert shared.get(computed, at=NOON) == 1
        assert time.monotonic() - begun < 2 * REDIS_SECONDS
    finally:
        os.kill(server.child.process.pid, signal.SIGCONT)
