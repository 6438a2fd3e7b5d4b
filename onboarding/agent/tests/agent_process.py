"""The agent as an operator runs it: a process with an `agent.yaml`, exit codes and log lines."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from jatevo_agent.cli import main


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

    def start(self, *options: str, service: str = "") -> None:
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jatevo_agent", "run", "--config", str(self.config_path), *options],
                stderr=log,
                env=_environment(service),
            )

    def wait(self, timeout_seconds: float = 30.0) -> int:
        """Wait for the process to end. Returns its exit code. One that hangs is shown with its threads' stacks."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            self._process.wait()
            raise AssertionError(f"the agent did not end within {timeout_seconds} s:\n{self.log}") from None

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

    @property
    def has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def wait_for_log(self, text: str, timeout_seconds: float = 20.0) -> None:
        """Wait until the log contains `text`, which only its file shows."""
        deadline = time.monotonic() + timeout_seconds
        while text not in self.log:
            assert not self.has_ended, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def status(self) -> dict[str, Any]:
        finished = self.command("status", "--json", "--config", str(self.config_path))
        assert finished.returncode == 0, finished.stderr
        document: dict[str, Any] = json.loads(finished.stdout)
        return document

    @staticmethod
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the agent in this process, which saves its start of half a second."""
        printed, complained = StringIO(), StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, printed.getvalue(), complained.getvalue())

    @staticmethod
    def command_of_its_own(*arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the agent as a process."""
        return subprocess.run(
            [sys.executable, "-m", "jatevo_agent", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=_environment(),
        )


def _environment(service: str = "") -> dict[str, str]:
    """Ours without settings of the agent, except for the service manager to run under."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JATEVO_")}
    kept["PYTHONFAULTHANDLER"] = "1"
    return {**kept, "JATEVO_SERVICE": service} if service else kept
