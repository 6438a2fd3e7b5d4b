"""Ctrl-C, SIGTERM and SIGHUP as a request to stop, which is checked between two steps.

This module is loaded first and imports little. The rest takes a second or more to load, and an interrupt in
that time would end in a traceback.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from jatevo.local.problems import CannotStart


class StopRequested(Exception):
    """A stop was requested during the start."""


class StopRequest:
    """Whether the process was asked to stop.

    Not a threading.Event: a signal handler may interrupt the thread that holds the event's lock, and would
    then wait for that lock for ever.
    """

    def __init__(self) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe()

    def ask(self, *_: object) -> None:
        """Ask to stop. Can be used as a signal handler.

        Only the first call does anything. In a burst of signals, handlers interrupt each other and would
        otherwise nest without end.
        """
        if self._asked:
            return
        self._asked = True
        os.write(self._writer, b"!")

    def is_set(self) -> bool:
        return self._asked

    def wait(self, seconds: float | None) -> bool:
        """Wait until asked to stop, at most `seconds` (None for no limit). Returns `is_set()`.

        The pipe is never read, so every later call returns at once.
        """
        select.select([self._reader], [], [], seconds)
        return self._asked

    @contextmanager
    def before_problems(self) -> Iterator[None]:
        """Turn a CannotStart of the block into StopRequested if the stop was asked for first.

        Ctrl-C goes to the terminal's whole process group. A child that has not got its own session yet dies
        of it, and that is no fault of the child.
        """
        try:
            yield
        except CannotStart as problem:
            if self._asked:
                raise StopRequested from problem
            raise


def listen() -> StopRequest:
    """Install handlers of the three signals that only ask to stop. Returns the request that they set."""
    request = StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, request.ask)
    return request
