"""Limits how long a page waits for ClickHouse.

The store's own time-out of 2 s is long for a page. Here a helper thread sends the query, and the page
continues without the answer if it does not come in time.
"""

import contextvars
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from jatevo.metrics.store import get_store
from jatevo.metrics.transport import MetricsError, MetricsUnavailable

WAIT_SECONDS = 0.6
# While an answer is overdue, further queries wait only this long, so that a page waits in full only once.
HURRIED_WAIT_SECONDS = 0.15
MAX_THREADS = 4

log = logging.getLogger(__name__)
T = TypeVar("T")


def patiently(compute: Callable[[], T], wait_seconds: float | None = None) -> T:
    """Returns or raises what `compute` does. Raises MetricsUnavailable after `wait_seconds` (None: WAIT_SECONDS).

    While an earlier computation is overdue, the wait is at most HURRIED_WAIT_SECONDS. A late computation goes
    on, so that what it stores in the cache is there for the next page. `compute` runs in another thread with
    the caller's context (request id, trace). It may query ClickHouse and the cache but not PostgreSQL, whose
    connections belong to requests.
    """
    return _helpers().ask(compute, WAIT_SECONDS if wait_seconds is None else wait_seconds)


def asking(compute: Callable[[], T], *, patience_seconds: float) -> "Asked[T]":
    """Begins what `patiently` does, for a page that has something else to try meanwhile.

    It counts as overdue after `patience_seconds`, so that no other page hurries before. Raises MetricsUnavailable if
    overdue computations occupy all threads.
    """
    return _helpers().begin(compute, patience_seconds)


def answers() -> bool:
    """Whether ClickHouse answers a page in time."""
    try:
        patiently(get_store().ping)
    except MetricsError:
        return False
    return True


class _Question(Generic[T]):
    """One computation, and its result once it is `done`."""

    def __init__(self, compute: Callable[[], T], due_at: float) -> None:
        self.due_at = due_at  # monotonic seconds
        self.done = threading.Event()
        self._compute = compute
        self._context = contextvars.copy_context()
        self._answer: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._answer.append(self._context.run(self._compute))
        except BaseException as error:  # any error is raised in the thread that asked
            self._error = error
        self.done.set()
        if self._error is not None and time.monotonic() > self.due_at:
            self._tell_late(self._error)

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer[0]

    def _tell_late(self, error: BaseException) -> None:
        """Logs an error after the caller stopped waiting, unless it is an outage, which is already known."""
        if not isinstance(error, MetricsUnavailable):
            log.error("a computation failed after its page had gone on", exc_info=error)


class Asked(Generic[T]):
    """A computation that has begun. Its result may be asked for more than once."""

    def __init__(self, question: _Question[T], patience_seconds: float) -> None:
        self._question = question
        self._patience_seconds = patience_seconds

    def within(self, seconds: float) -> T:
        """Returns or raises what the computation does. Raises MetricsUnavailable if that is not there in time."""
        seconds = min(seconds, self._patience_seconds)
        if not self._question.done.wait(seconds):
            raise MetricsUnavailable(f"ClickHouse did not answer within {seconds:g} s")
        return self._question.outcome()


class Helpers:
    """A few threads for computations.

    They are daemons, so that a hung server does not delay the end of the process.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self.owner_pid = os.getpid()
        self._max_threads = max_threads
        self._lock = threading.Lock()
        self._threads = 0
        self._open: set[_Question[Any]] = set()
        self._waiting: queue.SimpleQueue[_Question[Any]] = queue.SimpleQueue()

    def ask(self, compute: Callable[[], T], wait_seconds: float) -> T:
        """See `patiently`. Raises MetricsUnavailable at once if overdue computations occupy all threads."""
        return self.begin(compute, wait_seconds).within(wait_seconds)

    def begin(self, compute: Callable[[], T], patience_seconds: float) -> "Asked[T]":
        """See `asking`."""
        with self._lock:
            now = time.monotonic()
            overdue = sum(question.due_at < now for question in self._open)
            if overdue >= self._max_threads:
                raise MetricsUnavailable("ClickHouse is slow, and all threads are already waiting for it")
            if overdue:
                patience_seconds = min(patience_seconds, HURRIED_WAIT_SECONDS)
            question = _Question(compute, due_at=now + patience_seconds)
            self._open.add(question)
            if len(self._open) > self._threads < self._max_threads:
                self._threads += 1
                threading.Thread(target=self._work, name=f"metrics-{self._threads}", daemon=True).start()
        self._waiting.put(question)
        return Asked(question, patience_seconds)

    def _work(self) -> None:
        while True:
            question = self._waiting.get()
            question.run()
            with self._lock:
                self._open.discard(question)


_current: Helpers | None = None
_current_lock = threading.Lock()


def _helpers() -> Helpers:
    """The process's helpers. A forked child has none of its parent's threads, so it gets its own."""
    global _current, _current_lock
    helpers = _current
    if helpers is not None and helpers.owner_pid == os.getpid():
        return helpers
    if helpers is not None:
        _current_lock = threading.Lock()  # a fork may have copied the parent's lock in the locked state
    with _current_lock:
        if _current is None or _current.owner_pid != os.getpid():
            _current = Helpers()
        return _current
