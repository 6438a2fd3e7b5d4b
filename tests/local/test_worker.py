"""The worker's loop around procrastinate, which is replaced by a part that fails or runs for ever."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import OperationalError
from procrastinate.periodic import PeriodicDeferrer

from jatevo.local import worker
from jatevo.local.worker import WorkerThread, app_with_pool, work_until_signalled


class Script:
    """The outcome of each start of the worker: an error to raise, or None to run until cancelled."""

    def __init__(self, *starts: Exception | None) -> None:
        self._left = list(starts)
        self.running = threading.Event()
        self.counted = 0
        self.connected = 0

    async def work(self) -> None:
        error = self._left.pop(0)
        if error is not None:
            raise error
        self.running.set()
        await asyncio.Event().wait()

    def start_counting(self, *, at: datetime) -> None:
        self.counted += 1

    def connect(self) -> None:
        self.connected += 1


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Script]:
    def played(*starts: Exception | None, pause_seconds: float = 0.0) -> Script:
        script = Script(*starts)
        monkeypatch.setattr(worker, "work", script.work)
        monkeypatch.setattr(worker, "start_counting", script.start_counting)
        monkeypatch.setattr(worker, "_connect_anew", script.connect)
        monkeypatch.setattr(worker, "PAUSE_SECONDS", pause_seconds)
        return script

    return played


def stopped(thread: WorkerThread) -> bool:
    thread.ask_to_stop()
    return thread.wait(timeout_seconds=10)


def test_worker_that_fails_is_started_again(play: Callable[..., Script]) -> None:
    script = play(OperationalError("terminated"), RuntimeError("a bug"), None)
    thread = WorkerThread()
    thread.start()
    assert script.running.wait(10)
    assert script.connected == 3, "with new connections each time"
    assert script.counted == 1, "deadlines count from the first start"
    assert stopped(thread)


@pytest.mark.parametrize("seconds", [600, -600], ids=["forward", "back"])
def test_worker_starts_again_when_the_clock_jumps(
    play: Callable[..., Script], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    ahead = [0.0]
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + ahead[0])
    monkeypatch.setattr(worker, "CLOCK_CHECK_SECONDS", 0.01)
    script = play(None, None)
    thread = WorkerThread()
    thread.start()
    assert script.running.wait(10)
    script.running.clear()
    ahead[0] += 5
    time.sleep(0.05)
    ahead[0] -= 10
    assert not script.running.wait(0.1), "not when it is set by a little"
    ahead[0] += seconds
    assert script.running.wait(10)
    assert script.counted == 1
    assert stopped(thread)


def test_worker_that_starts_makes_up_for_each_periodic_job_of_the_last_day_once() -> None:
    at = datetime(2026, 11, 30, 18, 30, 2, tzinfo=UTC)
    app = app_with_pool()
    deferrer = PeriodicDeferrer(app.periodic_registry, **app.periodic_defaults)
    deferred = [
        (periodic.task.name, datetime.fromtimestamp(timestamp, UTC))
        for periodic, timestamp in deferrer.get_previous_tasks(at=at.timestamp())
    ]
    assert len(deferred) == len(app.periodic_registry.periodic_tasks) == len(dict(deferred))
    assert dict(deferred)["earnings.make_statements"] == at.replace(hour=4, minute=41, second=0)
    assert dict(deferred)["nodes.sweep"] == at.replace(second=0)


def test_counting_starts_once_the_database_is_there(
    play: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = play(None)
    tries = iter([OperationalError("refused"), OperationalError("starting up")])

    def connect() -> None:
        if (error := next(tries, None)) is not None:
            assert script.counted == 0
            raise error

    monkeypatch.setattr(worker, "_connect_anew", connect)
    thread = WorkerThread()
    thread.start()
    assert script.running.wait(10)
    assert script.counted == 1
    assert stopped(thread)


def test_stop_acts_during_the_pause(play: Callable[..., Script], monkeypatch: pytest.MonkeyPatch) -> None:
    pausing = threading.Event()
    script = play(OperationalError("terminated"), pause_seconds=600.0)
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pausing.set()
        await real_sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    thread = WorkerThread()
    thread.start()
    assert pausing.wait(10)
    assert stopped(thread)
    assert not script.running.is_set()


def test_worker_that_fails_to_stop_is_not_started_again(
    play: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = play(pause_seconds=600.0)

    async def work() -> None:
        script.running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise OperationalError("no database to sign off at") from error

    monkeypatch.setattr(worker, "work", work)
    thread = WorkerThread()
    thread.start()
    assert script.running.wait(10)
    assert stopped(thread)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_worker_process(play: Callable[..., Script], number: signal.Signals) -> None:
    script = play(OperationalError("terminated"), None)

    def send() -> None:
        assert script.running.wait(10)
        signal.raise_signal(number)

    async def run() -> None:
        asyncio.get_running_loop().run_in_executor(None, send)
        await work_until_signalled()

    asyncio.run(asyncio.wait_for(run(), timeout=10))
