"""Caps on expensive work that anyone can cause, in addition to rate limits.

Hashing a password takes memory and a core. An export takes a database connection and a thread. A rate limit
restricts how often somebody may ask, but thirty requests of one second could still run at once. A cap lets a
fixed number run and a few more wait for a moment; the others are refused at once. All caps together leave
most of the server's threads (sixteen in the one-machine run) free for other requests.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from jatevo.web.errors import ApiError

RETRY_AFTER_SECONDS: Final = 2

P = TypeVar("P", str, bytes)


class Cap:
    """At most `at_once` of one kind of work in this process, while `waiting` more wait up to `wait_seconds`.

    Beyond that it raises ApiError 503 with Retry-After, before anything is done. `work` is its name in the
    message.
    """

    def __init__(self, work: str, *, at_once: int, waiting: int, wait_seconds: float) -> None:
        self.work = work
        self._wait_seconds = wait_seconds
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._running = threading.BoundedSemaphore(at_once)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A context manager for the work itself. Code that waits for something else belongs outside of it."""
        self._take()
        try:
            yield
        finally:
            self._give_back()

    def held_through(self, parts: Iterable[P]) -> Iterator[P]:
        """Takes a place now, and releases it once the parts of a streamed answer are sent or abandoned."""
        self._take()
        return _Held(iter(parts), self)

    def _take(self) -> None:
        if not self._places.acquire(blocking=False):
            raise self._refusal()
        if not self._running.acquire(timeout=self._wait_seconds):
            self._places.release()
            raise self._refusal()

    def _give_back(self) -> None:
        self._running.release()
        self._places.release()

    def _refusal(self) -> ApiError:
        return ApiError(
            503,
            "unavailable",
            f"{self.work} is busy. Try again in a few seconds.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


class _Held(Iterator[P]):
    """An iterator that holds a place.

    A generator would not work: if it never starts, its `finally` never runs.
    """

    def __init__(self, parts: Iterator[P], cap: Cap) -> None:
        self._parts: Iterator[P] = parts
        self._cap: Cap | None = cap

    def __next__(self) -> P:
        try:
            return next(self._parts)
        except BaseException:  # the last part, or an error
            self.close()
            raise

    def close(self) -> None:
        """Called by the server, also when the client has gone."""
        if self._cap is not None:
            cap, self._cap = self._cap, None
            cap._give_back()

    def __del__(self) -> None:
        self.close()


# Each export holds a thread and a database connection for as long as the client reads it.
EXPORTS: Final = Cap("Exporting", at_once=2, waiting=1, wait_seconds=2.0)
# A download of a stored file holds a thread, and a connection only while it reads a part.
DOWNLOADS: Final = Cap("Downloading", at_once=3, waiting=1, wait_seconds=2.0)
