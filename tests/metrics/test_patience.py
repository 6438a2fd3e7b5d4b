"""A page waits for ClickHouse only for a limited time."""

import contextvars
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.patience import HURRIED_WAIT_SECONDS, MAX_THREADS, Helpers, patiently
from jatevo.metrics.queries import requests_count
from jatevo.metrics.shipper import ship
from jatevo.metrics.store import MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.transport import CircuitOpen
from jatevo.web.breaker import CircuitBreaker
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.test_outages import ROOT
from tests.metrics.wrappers import HOUR, NOON, deliver, enqueue, receipt

WINDOW = (NOON, NOON + HOUR)


class Slow:
    """A computation that waits until it is released."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.stored: list[str] = []

    def __call__(self) -> str:
        self.began.set()
        assert self.may_end.wait(timeout=30)
        self.stored.append("kept")
        return "late"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_a_quick_answer_is_returned_and_an_error_raised() -> None:
    assert patiently(lambda: 42) == 42
    with pytest.raises(QueryRefused, match="syntax"):
        patiently(lambda: raise_(QueryRefused("syntax", 62)))


def raise_(error: Exception) -> None:
    raise error


def test_a_late_answer_is_no_answer_but_what_it_stores_is_there() -> None:
    helpers, slow = Helpers(), Slow()
    with within(20), pytest.raises(MetricsUnavailable, match=r"within 0\.05 s"):
        helpers.ask(slow, 0.05)
    slow.may_end.set()
    assert wait_for(lambda: slow.stored == ["kept"])


def test_while_one_is_overdue_the_others_hurry() -> None:
    """The waits for several figures of a page do not add up."""
    helpers, first, second = Helpers(), Slow(), Slow()
    with pytest.raises(MetricsUnavailable):
        helpers.ask(first, 0.01)
    with within(20), pytest.raises(MetricsUnavailable):
        helpers.ask(second, 30)
    assert helpers.ask(lambda: "quick", 30) == "quick"
    for slow in (first, second):
        slow.may_end.set()
    assert wait_for(lambda: bool(first.stored and second.stored))
    third = Slow()
    threading.Timer(HURRIED_WAIT_SECONDS * 2, third.may_end.set).start()
    assert helpers.ask(third, 30) == "late"  # no computation is overdue any more


def test_page_may_look_for_an_answer_again_and_hurries_nobody_meanwhile() -> None:
    helpers, slow = Helpers(), Slow()
    asked = helpers.begin(slow, 30)
    with pytest.raises(MetricsUnavailable, match=r"within 0\.01 s"):
        asked.within(0.01)
    other = Slow()
    threading.Timer(HURRIED_WAIT_SECONDS * 2, other.may_end.set).start()
    assert helpers.ask(other, 30) == "late"
    slow.may_end.set()
    assert asked.within(30) == "late"
    assert asked.within(0) == "late"
    assert slow.stored == ["kept"], "it was computed once"


def test_when_all_helpers_are_overdue_no_one_waits_and_no_thread_is_added() -> None:
    helpers, stuck = Helpers(), [Slow() for _ in range(MAX_THREADS)]
    before = threading.active_count()
    for slow in stuck:
        with pytest.raises(MetricsUnavailable):
            helpers.ask(slow, 0.01)
    for _ in range(50):
        with within(20), pytest.raises(MetricsUnavailable, match="all threads"):
            helpers.ask(lambda: "never", 30)
    assert threading.active_count() - before <= MAX_THREADS
    for slow in stuck:
        slow.may_end.set()
    assert wait_for(lambda: all(slow.stored for slow in stuck))
    assert wait_for(lambda: answers(helpers))


def answers(helpers: Helpers) -> bool:
    try:
        return helpers.ask(lambda: True, 5)
    except MetricsUnavailable:
        return False


def wait_for(is_so: object, seconds: float = 10) -> bool:
    """Whether the condition becomes true in time."""
    assert callable(is_so)
    stop_at = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > stop_at:
            return False
        threading.Event().wait(0.005)
    return True


def test_the_context_is_the_callers() -> None:
    request_id = contextvars.ContextVar("request_id", default="none")
    request_id.set("req_7")
    assert patiently(request_id.get) == "req_7"


@pytest.mark.parametrize(("error", "lines"), [(ZeroDivisionError(), 1), (MetricsUnavailable("down"), 0)])
def test_an_error_after_the_wait_is_logged(
    caplog: pytest.LogCaptureFixture, error: Exception, lines: int
) -> None:
    helpers, slow = Helpers(), Slow()

    def fail() -> None:
        slow()
        raise error

    with pytest.raises(MetricsUnavailable):
        helpers.ask(fail, 0.01)
    with caplog.at_level(logging.ERROR, logger="jatevo.metrics.patience"):
        slow.may_end.set()
        assert wait_for(lambda: answers(helpers))
        assert wait_for(lambda: len(caplog.records) == lines)


HUNG = """
import threading
from jatevo.metrics.patience import patiently
from jatevo.metrics.transport import MetricsUnavailable
try:
    patiently(threading.Event().wait, 0.05)
except MetricsUnavailable:
    print("gone on")
"""
FORKED = """
import os
from jatevo.metrics.patience import patiently
assert patiently(os.getpid) == os.getpid()
child = os.fork()
if child == 0:
    os._exit(0 if patiently(os.getpid) == os.getpid() else 7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), patiently(os.getpid) == os.getpid())
"""


@pytest.mark.parametrize(("script", "said"), [(HUNG, "gone on\n"), (FORKED, "0 True\n")])
def test_a_hung_helper_does_not_delay_the_exit_and_a_forked_child_has_its_own_helpers(
    script: str, said: str
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", script]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert finished.stdout == said


@pytest.mark.django_db(transaction=True)
def test_a_hung_server_costs_a_page_less_than_its_time_out_and_ingest_nothing(
    clickhouse_server: ClickHouseServer, native_migrated: Store, patience_of_production: None
) -> None:
    """When it is back, the figures return by themselves."""
    transport = NativeTransport(clickhouse_server.url(), timeout_seconds=5.0)
    store = Store(transport, CircuitBreaker("trial", threshold=3, open_seconds=0.2))
    for table in ("receipt_facts", "requests_minute", "requests_hour"):
        native_migrated.execute(f"TRUNCATE TABLE {table}")
    deliver(store, receipt("r_1"))
    try:
        assert patiently(lambda: requests_count(store, *WINDOW)) == 1
        clickhouse_server.pause()
        try:
            with within(4.5):
                for _ in range(3):  # the figures of one page
                    with pytest.raises(MetricsUnavailable):
                        patiently(lambda: requests_count(store, *WINDOW))
            with within(4.5):
                enqueue(receipt("r_2"))
            with pytest.raises(MetricsUnavailable):
                ship(at=NOON, store=store)
        finally:
            clickhouse_server.resume()

        def is_back() -> bool:
            try:
                return patiently(lambda: requests_count(store, *WINDOW)) == 1
            except MetricsUnavailable:
                return False

        assert wait_for(is_back)
        assert wait_for(lambda: shipped(store))
        assert requests_count(store, *WINDOW) == 2
    finally:
        store.close()


def shipped(store: Store) -> bool:
    try:
        return ship(at=NOON, store=store).rows == 1
    except CircuitOpen:
        return False


def test_a_slow_query_of_chdb_costs_a_page_no_more(chdb_store: Store) -> None:
    helpers = Helpers()
    slow = "SELECT sleep(0.5) FROM numbers(6) SETTINGS max_block_size = 1"
    with within(2.9), pytest.raises(MetricsUnavailable):
        helpers.ask(lambda: chdb_store.execute(slow), 0.1)
    # chDB answers one at a time: who waits behind it gets the answer when it is through
    assert wait_for(lambda: answers(helpers))
    assert chdb_store.execute("SELECT 1") == [(1,)]
