"""A value in Django's cache, and in this process alone while Redis is away."""

import threading
from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar

from django.core.cache import cache

from jatevo.web.throttling import breaker

T = TypeVar("T")

MOST_ALONE: Final = 1000  # values that a process remembers by itself

_alone: OrderedDict[str, Any] = OrderedDict()
_alone_lock = threading.Lock()


class Remembered(Generic[T]):
    """One value under one key. Neither method raises because of Redis.

    What was kept while Redis was away is believed only as long as it still is: afterwards the value that all
    processes share counts again.
    """

    def __init__(self, key: str, *, keep_seconds: int) -> None:
        self.key = key
        self._keep_seconds = keep_seconds

    def get(self) -> T | None:
        """The last value, however old; None if there is none."""
        found: T | None = cache.get(self.key)
        if found is not None or breaker.closed:
            return found
        with _alone_lock:
            return _alone.get(self.key)

    def set(self, value: T) -> None:
        cache.set(self.key, value, timeout=self._keep_seconds)
        with _alone_lock:
            _alone.pop(self.key, None)
            if not breaker.closed:
                _alone[self.key] = value
            while len(_alone) > MOST_ALONE:
                _alone.popitem(last=False)


def forget_alone() -> None:
    """As in a process that has just started."""
    with _alone_lock:
        _alone.clear()
