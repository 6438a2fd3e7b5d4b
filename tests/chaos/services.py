"""A console as services: granian and a worker, with a private PostgreSQL, Valkey and ClickHouse."""

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

from jatevo.local.stores import Stores, start
from tests.chaos.console_process import BASE_DIR, FORWARDED, STOP_TIMEOUT_SECONDS, UP_TIMEOUT_SECONDS
from tests.metrics import clickhouse_server

WEB_PROCESSES = 2
SEED_USERS = """
import django, pathlib, sys
django.setup()
from jatevo.local.seed import seed_users
seed_users(pathlib.Path(sys.argv[1]))
"""


def credentials_of(home: Path, role: str) -> Any:
    """The login of a role, which SEED_USERS has made."""
    return json.loads((home / "credentials.json").read_text())[role]


class ServicesConsole:
    """Like ConsoleProcess, for services. Raises RuntimeError without Debian's clickhouse-server."""

    def __init__(self, port: int) -> None:
        binary = clickhouse_server.find_binary()
        if binary is None:
            raise RuntimeError(
                "clickhouse-server is not installed (Debian: apt-get install clickhouse-server)"
            )
        self.home = Path(tempfile.mkdtemp(prefix="jatevo-chaos-"))
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._binary = binary
        self._stores: Stores | None = None
        self._clickhouse: clickhouse_server.ClickHouseServer | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> float:
        """Start everything and wait until it is ready. Returns the seconds that this took."""
        began = time.monotonic()
        self._stores = start(self.home)
        folder = self.home / "clickhouse"
        folder.mkdir()
        self._clickhouse = clickhouse_server.start(self._binary, folder)
        env = self._environment()
        for words in (["migrate", "-v0"], ["metrics_migrate"], ["collectstatic", "--noinput", "-v0"]):
            self._finish([sys.executable, "manage.py", *words], env)
        self._finish([sys.executable, "-c", SEED_USERS, str(self.home)], env)
        granian = [str(Path(sys.executable).with_name("granian")), "--interface", "wsgi"]
        granian += ["--workers", str(WEB_PROCESSES), "--host", "127.0.0.1", "--port", str(self._port)]
        for command in ([*granian, "jatevo.wsgi:application"], [sys.executable, "manage.py", "worker"]):
            with (self.home / "output.log").open("ab") as output:
                self._processes.append(
                    subprocess.Popen(
                        command,
                        cwd=BASE_DIR,
                        env=env,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        while not self._answers():
            assert all(process.poll() is None for process in self._processes), self.output()
            assert time.monotonic() - began < UP_TIMEOUT_SECONDS, f"the console is not up:\n{self.output()}"
            time.sleep(0.05)
        return time.monotonic() - began

    def stop(self) -> int:
        """Send SIGTERM to both. Returns the worse exit code."""
        for process in self._processes:
            process.terminate()
        return max(abs(process.wait(timeout=STOP_TIMEOUT_SECONDS)) for process in self._processes)

    def remove(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # granian's workers outlive it otherwise
                process.wait()
        if self._clickhouse is not None:
            clickhouse_server.stop(self._clickhouse)
        if self._stores is not None:
            self._stores.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def credentials(self, role: str) -> Any:
        return credentials_of(self.home, role)

    def output(self) -> str:
        return (self.home / "output.log").read_text(errors="replace")[-4000:]

    def store_pid(self, name: str) -> int:
        """The pid of `postgres`, `valkey` or `clickhouse`."""
        if name == "clickhouse":
            assert self._clickhouse is not None
            return self._clickhouse.process.pid
        record = json.loads((self.home / "run" / "children" / f"{name}.json").read_text())
        return int(record["pid"])

    def _environment(self) -> dict[str, str]:
        assert self._stores is not None
        assert self._clickhouse is not None
        env = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        env |= self._stores.environment()
        env |= {
            "CLICKHOUSE_URL": self._clickhouse.url(),
            "PORT": str(self._port),
            "DJANGO_SETTINGS_MODULE": "jatevo.settings",
        }
        del env["JATEVO_EMBEDDED"]
        return env

    def _finish(self, command: list[str], env: dict[str, str]) -> None:
        subprocess.run(command, cwd=BASE_DIR, env=env, check=True, timeout=UP_TIMEOUT_SECONDS)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
