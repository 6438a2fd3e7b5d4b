"""A console as `make run` starts it, to be killed, restarted, or run with stopped stores."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.stopping import processes_of

BASE_DIR = Path(__file__).parents[2]
# Nothing of this test run's own stores and settings.
FORWARDED = ("PATH", "HOME", "LANG", "TMPDIR")
UP_TIMEOUT_SECONDS = 120.0
STOP_TIMEOUT_SECONDS = 30.0


class ConsoleProcess:
    """An installation in a temporary home, without the demo fleet. `remove` ends all of it."""

    def __init__(self, port: int) -> None:
        # A short path: PostgreSQL's socket lies below it.
        self.home = Path(tempfile.mkdtemp(prefix="jatevo-chaos-"))
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it is ready. Returns the seconds that this took."""
        started = time.monotonic()
        env = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        env |= {"JATEVO_HOME": str(self.home), "PORT": str(self._port), "JATEVO_DEMO": "0"}
        with (self.home / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jatevo.local", "run"],
                cwd=BASE_DIR,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not self._answers():
            assert self._process.poll() is None, f"the console ended at start:\n{self.output()}"
            assert time.monotonic() - started < UP_TIMEOUT_SECONDS, f"the console is not up:\n{self.output()}"
            time.sleep(0.05)
        return time.monotonic() - started

    def kill(self, *, with_postgres: bool) -> None:
        """Send SIGKILL to it and, if asked, to PostgreSQL at the same moment."""
        assert self._process is not None
        postgres = processes_of(self.store_pid("postgres")) if with_postgres else []
        victims = [psutil.Process(self._process.pid), *postgres]
        family = psutil.Process(self._process.pid).children(recursive=True)
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
        self._process.wait()
        # The guard ends what is left. A person who starts the console again is not faster either.
        psutil.wait_procs(family, timeout=STOP_TIMEOUT_SECONDS)

    def stop(self) -> int:
        """Send SIGTERM, as an init system does. Returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=STOP_TIMEOUT_SECONDS)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill(with_postgres=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def credentials(self, role: str) -> Any:
        return json.loads((self.home / "credentials.json").read_text())[role]

    def output(self) -> str:
        return (self.home / "output.log").read_text(errors="replace")[-4000:]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def store_pid(self, name: str) -> int:
        """The pid of `postgres` or `valkey`."""
        record = json.loads((self.home / "run" / "children" / f"{name}.json").read_text())
        return int(record["pid"])
