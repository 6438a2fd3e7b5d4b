"""waitress' event loop, without its effort for each open connection.

Before each poll, waitress asks all connections whether they want to read or write, twice a request. With a thousand
agents that keep their connections open, this would take longer than their requests. Here only those are asked whose
answer may have changed: the loop has just read or written, or a thread has said so (`changed`).
"""

import select
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final

from waitress import wasyncore
from waitress.channel import HTTPChannel

# All are asked at least this often, as after waitress has marked idle connections for closing.
SWEEP_SECONDS: Final = 1.0


class WatchedSockets(dict[int, Any]):
    """waitress' map of sockets by file number, with the loop over it. Only the loop's thread may change it."""

    def __init__(self) -> None:
        super().__init__()
        self._poller: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._unit = 1 if hasattr(select, "epoll") else 1000  # poll() counts milliseconds
        self._watched: dict[int, int] = {}
        self._unsettled: set[int] = set()
        self._changed: deque[int] = deque()
        self._swept_at = 0.0
        self._thread: int | None = None

    def __setitem__(self, number: int, dispatcher: Any) -> None:
        super().__setitem__(number, dispatcher)
        self._unsettled.add(number)

    def __delitem__(self, number: int) -> None:
        super().__delitem__(number)
        self._unsettled.discard(number)
        self._watch(number, 0)

    def clear(self) -> None:
        for number in list(self):
            del self[number]

    @property
    def are_ours(self) -> bool:
        """Whether this is the loop's thread."""
        return self._thread == threading.get_ident()

    def changed(self, number: int) -> None:
        """Another thread has changed a connection, and wakes the loop afterwards."""
        self._changed.append(number)

    def run(self) -> None:
        """Runs until no socket is left."""
        self._thread = threading.get_ident()
        while self:
            self.turn()

    def turn(self) -> None:
        """Waits for sockets, at most SWEEP_SECONDS, and lets waitress read and write."""
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._unsettled.update(self)
        while self._changed:
            self._unsettled.add(self._changed.popleft())
        for number in list(self._unsettled):
            self._ask(number)
        try:
            ready = self._poller.poll(SWEEP_SECONDS * self._unit)
        except InterruptedError:
            return
        for number, flags in ready:
            dispatcher = self.get(number)
            if dispatcher is not None:
                self._unsettled.add(number)
                wasyncore.readwrite(dispatcher, flags)
                if number not in self:
                    self._unsettled.discard(number)

    def _ask(self, number: int) -> None:
        dispatcher = self.get(number)
        if dispatcher is None:
            self._unsettled.discard(number)
            return
        writable = dispatcher.writable() and not dispatcher.accepting
        flags = select.POLLOUT if writable else 0
        if dispatcher.readable():
            flags |= select.POLLIN | select.POLLPRI
        try:
            self._watch(number, flags)
        except OSError:
            if not isinstance(dispatcher, HTTPChannel):
                raise  # without the listener or the way to wake it, the loop has no use
            dispatcher.handle_close()  # one lost connection must not end it
            return
        # The listener stops and resumes with the number of connections.
        if not (writable or dispatcher.accepting):
            self._unsettled.discard(number)

    def _watch(self, number: int, flags: int) -> None:
        before = self._watched.get(number, 0)
        if flags == before:
            return
        if not flags:
            del self._watched[number]
            with suppress(OSError, KeyError):  # it may have been closed
                self._poller.unregister(number)
            return
        self._watched[number] = flags
        if before:
            self._poller.modify(number, flags)
        else:
            self._poller.register(number, flags)
