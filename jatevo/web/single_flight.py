"""A value that many callers need and one computes, across threads and processes.

dogpile.lock decides who computes. The value is in Django's cache. The mutex is a lock for the process's
threads and an expiring lock in Redis. Without Redis each process computes for itself, one thread at a time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

import redis
from dogpile.lock import Lock, NeedRegenerationException

from jatevo.web.remembered import Remembered
from jatevo.web.throttling import breaker, client

T = TypeVar("T")

# Longer than computing normally takes. A caller that has waited this long computes too, as the holder may
# hang.
PATIENCE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class _Made(Generic[T]):
    value: T
    made_at: datetime


class SingleFlight(Generic[T]):
    """A value that one caller computes for all.

    A value up to `fresh_for` old is used as it is. After that, one caller computes a new one while the others
    use the old one, unless it is older than `oldest`; then they wait. Ages are relative to the `at` of the
    callers.
    """

    def __init__(
        self,
        key: str,
        *,
        fresh_for: timedelta,
        oldest: timedelta,
        keep_seconds: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._remembered: Remembered[_Made[T]] = Remembered(key, keep_seconds=keep_seconds)
        self._fresh_for = fresh_for
        self._oldest = oldest
        self._patience_seconds = patience_seconds
        self._threads = threading.Lock()

    def get(self, compute: Callable[[], T], *, at: datetime) -> T:
        """The value, at most `oldest` old. Raises what `compute` raises. The next caller then tries again."""

        def make() -> tuple[T, float]:
            value = compute()
            self._remembered.set(_Made(value, at))
            return value, time.time()

        def known() -> tuple[T, float]:
            last = self._remembered.get()
            # A value from the future means that another clock is ahead or that this one was set back.
            if last is None or not -self._fresh_for <= at - last.made_at < self._oldest:
                raise NeedRegenerationException
            # This class judges ages itself, so dogpile is only told "created just now" or "expired long ago".
            return last.value, time.time() if at - last.made_at < self._fresh_for else 1.0

        mutex = _Mutex(self._threads, f"jatevo-flight:{self._remembered.key}", self._patience_seconds)
        with Lock(mutex, make, known, 1.0) as value:
            return value


class _Mutex:
    """A mutex for dogpile.lock, held by one thread of one process. Waiting for it is limited."""

    def __init__(self, threads: threading.Lock, name: str, patience_seconds: float) -> None:
        self._threads = threads
        self._name = name
        self._patience_seconds = patience_seconds
        self._has_thread = False
        self._shared: redis.lock.Lock | None = None

    def acquire(self, wait: bool = True) -> bool:
        """False if another caller holds it.

        With `wait`, returns after a limited wait, and dogpile then computes.
        """
        until = time.monotonic() + self._patience_seconds
        self._has_thread = self._threads.acquire(timeout=self._patience_seconds if wait else 0)
        if not self._has_thread:
            return False
        if self._acquire_shared(wait, until - time.monotonic()):
            return True
        if not wait:
            self.release()
        return False

    def release(self) -> None:
        if self._shared is not None:
            try:
                self._shared.release()
            except redis.exceptions.LockError:
                pass  # it has already expired
            except redis.RedisError as error:
                breaker.failed(error)
            self._shared = None
        if self._has_thread:
            self._has_thread = False
            self._threads.release()

    def _acquire_shared(self, wait: bool, patience_seconds: float) -> bool:
        """Whether no other process computes, as far as Redis can tell."""
        if not breaker.closed:
            return True
        lock = client().lock(
            self._name, timeout=self._patience_seconds, sleep=_POLL_SECONDS, thread_local=False
        )
        try:
            if not lock.acquire(blocking=wait, blocking_timeout=max(patience_seconds, 0.0) if wait else None):
                return False
        except redis.RedisError as error:
            breaker.failed(error)
            return True
        self._shared = lock
        return True
