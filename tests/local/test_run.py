"""The one-machine run as a person has it: started, killed, started again, stopped. No demo fleet."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import httpx
import psutil
import pytest

BASE_DIR = Path(__file__).parents[2]
UP_TIMEOUT_SECONDS = 90.0
pytestmark = pytest.mark.timeout(300)  # three starts, on whatever else the machine is doing
FORWARDED = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")


class Run:
    """A `python -m jatevo.local run` on a free port."""

    def __init__(self, home: Path, port: int = 0) -> None:
        self.started = time.monotonic()
        env = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        env |= {"JATEVO_HOME": str(home), "PORT": str(port), "JATEVO_DEMO": "0", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jatevo.local", "run"],
            cwd=BASE_DIR,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.url = ""

    def wait_until_up(self) -> float:
        """Read its lines to the end of the announcement; seconds since the start."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("Up after"):
                self.url = line.split()[-1]
            if line.startswith("Ctrl-C"):
                return time.monotonic() - self.started
        raise AssertionError("".join(self.lines))

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def finish(self) -> tuple[int, str]:
        rest, _ = self.process.communicate(timeout=UP_TIMEOUT_SECONDS)
        return self.process.returncode, "".join(self.lines) + rest


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jatevo-"))
    yield folder
    rmtree(folder)


@pytest.fixture
def start(home: Path) -> Iterator[type[Run]]:
    begun: list[Run] = []

    class Tracked(Run):
        def __init__(self, home: Path, port: int = 0) -> None:
            super().__init__(home, port)
            begun.append(self)

    yield Tracked
    for run in begun:
        if run.process.poll() is None:
            family = run.family()
            run.process.kill()
            psutil.wait_procs(family, timeout=30)
        run.process.communicate()


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


def test_first_start_kill_and_clean_stop(home: Path, start: type[Run]) -> None:
    first = start(home)
    first.wait_until_up()
    assert httpx.get(f"{first.url}healthz").status_code == 200

    credentials = home / "credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    logins = json.loads(credentials.read_text())
    assert set(logins) == {"admin", "operator", "viewer"}
    assert all(set(login) == {"email", "password"} for login in logins.values())
    assert len({login["password"] for login in logins.values()}) == 3
    for login in logins.values():
        answer = httpx.post(f"{first.url}v1/auth/login", json=login)
        assert answer.status_code == 200, answer.text

    second = start(home)
    code, said = second.finish()
    assert code == 1
    assert f"pid {first.process.pid} already runs" in said

    family = first.family()
    assert {process.name() for process in family} >= {"postgres", "redis-server"}
    first.process.kill()
    assert gone(family), "children outlived a killed console"

    again = start(home)
    assert again.wait_until_up() < 10
    assert httpx.get(f"{again.url}healthz").status_code == 200
    assert json.loads(credentials.read_text()) == logins
    assert httpx.post(f"{again.url}v1/auth/login", json=logins["operator"]).status_code == 200
    family = again.family()
    asked = time.monotonic()
    again.process.send_signal(signal.SIGINT)
    code, said = again.finish()
    assert code == 0, said
    assert time.monotonic() - asked < 10
    assert gone(family), "children outlived a clean stop"
    assert "Everything has stopped." in said


def test_death_of_a_store_stops_the_rest_and_is_said(home: Path, start: type[Run]) -> None:
    run = start(home)
    run.wait_until_up()
    family = run.family()
    next(process for process in family if process.name() == "redis-server").kill()
    code, said = run.finish()
    assert code == 1
    assert "redis ended with code -9" in said
    assert gone(family)


def test_taken_port_is_one_sentence(home: Path, start: type[Run]) -> None:
    from jatevo.local.checks import claim_port

    with claim_port(0) as other:
        other.listen()
        port = other.getsockname()[1]
        code, said = start(home, port).finish()
    assert code == 1
    assert f"Cannot start: Port {port} is taken" in said
    assert "Traceback" not in said
    assert not (home / "postgres").exists()
