"""A value in Django's cache, or only in this process while Redis is away."""

import threading
from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar

from django.core.cache import cache

from jatevo.web.throttling import breaker

T = TypeVar("T")

MOST_ALONE: Final = 1000  # values remembered per process

_alone: OrderedDict[str, Any] = OrderedDict()
_alone_lock = threading.Lock()


class Remembered(Generic[T]):
    """One value under one key. Neither method raises because of Redis.

    A value that was stored while Redis was away is used only until Redis is back. Then the shared value
    counts again.
    """

    def __init__(self, key: str, *, keep_seconds: int) -> None:
        self.key = key
        self._keep_seconds = keep_seconds

    def get(self) -> T | None:
        """The last value of any age, or None."""
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
    """Restores the state of a new process."""
    with _alone_lock:
        _alone.clear()
