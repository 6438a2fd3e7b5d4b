"""Ctrl-C, SIGTERM and a hang-up as a request that is looked at between two steps.

Loaded before anything else, and loads little itself: the rest takes a second or more to load, and an
interrupt in that time would end in a traceback.
"""

import os
import select
import signal


class StopRequested(Exception):
    """A stop was requested during the start."""


class StopRequest:
    """Whether anybody has asked. Not a threading.Event: a handler that sets one may interrupt the very thread
    that holds its lock, be it another signal's handler, and then waits for ever.
    """

    def __init__(self) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe()

    def ask(self, *_: object) -> None:
        """Also a signal's handler. The first call wakes who waits; those that interrupt it return at once, since
        handlers that interrupt each other's calls in a burst of signals would nest without end.
        """
        if self._asked:
            return
        self._asked = True
        os.write(self._writer, b"!")

    def is_set(self) -> bool:
        return self._asked

    def wait(self, seconds: float | None) -> bool:
        """`is_set`, after so many seconds at most (None: once it is).

        Nothing is read, so that every later call returns at once.
        """
        select.select([self._reader], [], [], seconds)
        return self._asked


def listen() -> StopRequest:
    """From now on the three signals do no more than ask."""
    request = StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, request.ask)
    return request
