"""A circuit breaker: while a store is down, it is asked only now and then, so that requests do not wait for
it.

It is used for PostgreSQL, Redis and ClickHouse. Each process has its own breakers.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from jatevo.telemetry import metrics

OPEN_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class CircuitBreaker:
    """Closed, open after `threshold` failures in a row, half-open `open_seconds` later.

    Half-open lets one caller try: success closes it, failure opens it again. `store` is its name in the log,
    `clock` returns monotonic seconds. Safe to share between threads.
    """

    def __init__(
        self,
        store: str,
        *,
        threshold: int = 1,
        open_seconds: float = OPEN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._clock = clock
        self._threshold = threshold
        self._open_seconds = open_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at: float | None = None
        metrics.expect(stores=(store,))

    def allows(self) -> bool:
        """Whether the caller may try now. After True, the caller should call succeeded() or failed()."""
        if self._retry_at is None:  # the usual case, so without the lock
            return True
        with self._lock:
            if self._retry_at is None:
                return True
            if self._clock() < self._retry_at:
                return False
            # This caller makes the trial. If it never reports back, another may try after a further wait.
            self._retry_at = self._clock() + self._open_seconds
            return True

    @property
    def closed(self) -> bool:
        """Whether the store is assumed to answer. Does not count as a trial."""
        return self._retry_at is None

    def succeeded(self) -> None:
        """The store answered, even if it refused the request."""
        if self._retry_at is None and not self._failures:
            return
        with self._lock:
            was_open = self._retry_at is not None
            self._failures = 0
            self._retry_at = None
        if was_open:
            metrics.breaker_is(self.store, open=False)
            log.info("store answers again", store=self.store)

    def failed(self, error: BaseException | str = "") -> None:
        """The store did not answer."""
        with self._lock:
            self._failures += 1
            was_closed = self._retry_at is None
            if self._failures >= self._threshold:
                self._retry_at = self._clock() + self._open_seconds
            opened = was_closed and self._retry_at is not None
        if opened:
            metrics.breaker_is(self.store, open=True)
            log.warning("store unavailable", store=self.store, error=str(error))

    def reset(self) -> None:
        """Restores the state of a new process."""
        with self._lock:
            was_open = self._retry_at is not None
            self._failures = 0
            self._retry_at = None
        if was_open:
            metrics.breaker_is(self.store, open=False)
