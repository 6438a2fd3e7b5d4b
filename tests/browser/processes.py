"""Programs in their own process groups, which are always ended."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

BASE_DIR = Path(__file__).parents[2]
STOP_TIMEOUT_SECONDS = 30.0
LOOPBACK = "127.0.0.1"
# Below the range that systems take ports of outgoing connections from: free now is free in a minute.
_PORTS = range(20_000, 32_000)
# All that a program gets of this test run's environment, which names the test run's own stores.
_FORWARDED = ("PATH", "LANG", "TMPDIR")
_POLL_SECONDS = 0.05

T = TypeVar("T")


def free_port() -> int:
    """A free port of the loopback address."""
    for port in random.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise AssertionError("none of 100 ports is free")


def wait_until(condition: Callable[[], T], *, within_seconds: float, what: str) -> T:
    """The condition's first true value. Raises AssertionError, which names `what`, after the time limit."""
    deadline = time.monotonic() + within_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s: {what}"
        time.sleep(_POLL_SECONDS)
    return answer


class Program:
    """A program with its own home folder, which can be started several times. All output is in one log."""

    def __init__(self, name: str, home: Path, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.home = home
        self._command = list(command)
        inherited = {key: os.environ[key] for key in _FORWARDED if key in os.environ}
        bypass = {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        self._env = {**inherited, "HOME": str(home), "PYTHONUNBUFFERED": "1", **bypass, **env}
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start it with its command and the additional arguments `more`."""
        assert not self.running(), f"{self.name} runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *more],
                cwd=BASE_DIR,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself, as `kill` does."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int:
        """Send SIGTERM, as a service manager does. Returns the exit code."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(timeout=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End the whole process group in any state, even stopped, at the end of a test."""
        if self.running():
            assert self._process is not None
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=STOP_TIMEOUT_SECONDS)

    def log(self) -> str:
        """The output of all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def last_words(self) -> str:
        """The end of its log, for a failed assertion."""
        return self.log()[-4000:]
