"""The agent as an operator runs it: a process with an `agent.yaml`, exit codes and log lines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml


class AgentProcess:
    def __init__(self, folder: Path, **config: Any) -> None:
        self.config_path = folder / "agent.yaml"
        self.state_dir = Path(config["state_dir"])
        self._log_path = folder / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.config = config
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.config.update(changes)
        self.config_path.write_text(yaml.safe_dump(self.config))

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jatevo_agent", "run", "--config", str(self.config_path), *options],
                stderr=log,
                env=_environment(),
            )

    def wait(self, timeout_seconds: float = 30.0) -> int:
        """Wait for the process to end. Returns its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_seconds)

    def terminate(self) -> float:
        """Send SIGTERM. Returns the seconds until it ended. Fails unless the exit code is 0."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        assert self.wait() == 0, self.log
        return time.monotonic() - began

    def kill(self) -> None:
        """Send SIGKILL, so that no handler runs and nothing is flushed."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def status(self) -> dict[str, Any]:
        finished = self.command("status", "--config", str(self.config_path))
        assert finished.returncode == 0, finished.stderr
        document: dict[str, Any] = json.loads(finished.stdout)
        return document

    @staticmethod
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "jatevo_agent", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=_environment(),
        )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("JATEVO_")}
