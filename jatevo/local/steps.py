"""Prints the steps of the start and how long each took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from jatevo.local.stopping import StopRequested

WIDTH = 34


class Steps:
    """Prints to `out`. On a terminal, a step's name appears when it starts. Elsewhere lines are complete."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._started = time.monotonic()

    def say(self, line: str = "") -> None:
        print(line, file=self._out, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        live = self._out.isatty()
        if live:
            print(f"  {name:<{WIDTH}}", end="", file=self._out, flush=True)
        label = "" if live else f"  {name:<{WIDTH}}"
        try:
            yield
        except BaseException as error:
            self.say(f"{label}  {'stopped' if isinstance(error, StopRequested) else 'failed'}")
            raise
        self.say(f"{label}{time.monotonic() - begun:6.1f} s")

    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._started
