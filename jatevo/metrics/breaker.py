"""A circuit breaker: when a store is down, ask it seldom instead of making every request wait for it."""

import threading
from collections.abc import Callable


class CircuitBreaker:
    """Closed, open after `threshold` failures in a row, half-open `open_seconds` later.

    Half-open lets one caller try: success closes it, failure opens it again. `clock` is monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float], *, threshold: int = 3, open_seconds: float = 5.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._open_seconds = open_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at: float | None = None

    def allows(self) -> bool:
        """Whether the caller may try now. A True must be followed by succeeded() or failed()."""
        with self._lock:
            if self._retry_at is None:
                return True
            if self._clock() < self._retry_at:
                return False
            # This caller is the trial; should it never report back, the next may try after another wait.
            self._retry_at = self._clock() + self._open_seconds
            return True

    def succeeded(self) -> None:
        """The store answered, be it with a refusal."""
        with self._lock:
            self._failures = 0
            self._retry_at = None

    def failed(self) -> None:
        """The store did not answer."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._threshold:
                self._retry_at = self._clock() + self._open_seconds
