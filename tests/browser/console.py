"""The console of the browser tests: `make run` without the demo fleet."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from jatevo.local import keys
from tests.browser.processes import BASE_DIR, LOOPBACK, Program, free_port, wait_until

UP_TIMEOUT_SECONDS = 120.0
# Shortened, so that a node is seen to go offline within a test. Heartbeats must come faster than that, too.
OFFLINE_AFTER_SECONDS = 10
HEARTBEAT_INTERVAL_SECONDS = 2
_TOKEN_GOOD_FOR_SECONDS = 120.0  # less than the console's five minutes


class RunningConsole:
    """An installation: its address, its logins, and its API for scripts of its operator."""

    def __init__(self, home: Path) -> None:
        self.home = home
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self.program = Program(
            "console",
            home,
            [sys.executable, "-m", "jatevo.local", "run"],
            {
                "PORT": str(port),
                "JATEVO_HOME": str(home),
                "JATEVO_DEMO": "0",
                "JATEVO_OFFLINE_AFTER_SECONDS": str(OFFLINE_AFTER_SECONDS),
                "JATEVO_HEARTBEAT_INTERVAL_SECONDS": str(HEARTBEAT_INTERVAL_SECONDS),
                # each test signs in again, as one of the same three people
                "JATEVO_LIMIT_LOGIN_ACCOUNT": "100/minute",
                "JATEVO_LIMIT_LOGIN_ADDRESS": "100/minute",
            },
        )
        self._bearers: dict[str, tuple[str, float]] = {}

    def start(self) -> float:
        """Start it and wait until it is ready. Returns the seconds that this took."""
        started = time.monotonic()
        self.program.start()
        wait_until(self._is_up_or_dead, within_seconds=UP_TIMEOUT_SECONDS, what="the console is up")
        assert self.program.running(), f"the console ended at start:\n{self.program.last_words()}"
        return time.monotonic() - started

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit code."""
        return self.program.stop()

    def login(self, role: str) -> dict[str, str]:
        """`{"email", "password"}` of a role, from the console's credentials file."""
        found: dict[str, str] = json.loads((self.home / "credentials.json").read_text())[role]
        return found

    def get(self, path: str, *, role: str = "operator") -> httpx.Response:
        """The answer to a script of that person."""
        return httpx.get(
            f"{self.url}{path}", headers=self._bearer(role), timeout=UP_TIMEOUT_SECONDS, trust_env=False
        )

    def get_json(self, path: str, *, role: str = "operator") -> Any:
        answer = self.get(path, role=role)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def enrol(self, node_id: str, *, region: str, runtime: str) -> str:
        """A new enrolment token, which a script of the operator has created."""
        answer = httpx.post(
            f"{self.url}/v1/enrollments",
            json={"node_id": node_id, "region": region, "runtime": runtime},
            headers=self._bearer("operator"),
            timeout=UP_TIMEOUT_SECONDS,
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def work(self, module: str) -> Any:
        """Runs a module of these tests with the console's database and secrets. Returns the JSON that it prints."""
        env = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ},
            **keys.load_or_make(self.home),
            "DJANGO_SETTINGS_MODULE": "jatevo.settings",
            "DATABASE_URL": f"postgres://jatevo@/jatevo?host={self.home.resolve()}/run/pg",
            "JATEVO_EMBEDDED": "1",
            "JATEVO_HOME": str(self.home),
        }
        done = subprocess.run(
            [sys.executable, "-m", module], cwd=BASE_DIR, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    def _bearer(self, role: str) -> dict[str, str]:
        token, until = self._bearers.get(role, ("", 0.0))
        if time.monotonic() > until:
            login = self.login(role)
            answer = httpx.post(
                f"{self.url}/v1/auth/login", json=login, timeout=UP_TIMEOUT_SECONDS, trust_env=False
            )
            assert answer.status_code == 200, answer.text
            token = answer.json()["access"]
            self._bearers[role] = (token, time.monotonic() + _TOKEN_GOOD_FOR_SECONDS)
        return {"Authorization": f"Bearer {token}"}

    def _is_up_or_dead(self) -> bool:
        if not self.program.running():
            return True
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
