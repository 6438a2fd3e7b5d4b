"""A value in Django's cache, and in this process alone while Redis is away."""

import threading
from typing import Generic, TypeVar

from django.core.cache import cache

from jatevo.web.throttling import breaker

T = TypeVar("T")


class Remembered(Generic[T]):
    """One value under one key. Neither method raises because of Redis.

    What was kept while Redis was away is believed only as long as it still is: afterwards the value that all
    processes share counts again.
    """

    def __init__(self, key: str, *, keep_seconds: int) -> None:
        self.key = key
        self._keep_seconds = keep_seconds
        self._lock = threading.Lock()
        self._alone: T | None = None

    def get(self) -> T | None:
        """The last value, however old; None if there is none."""
        found: T | None = cache.get(self.key)
        if found is not None or breaker.closed():
            return found
        with self._lock:
            return self._alone

    def set(self, value: T) -> None:
        cache.set(self.key, value, timeout=self._keep_seconds)
        with self._lock:
            self._alone = None if breaker.closed() else value
