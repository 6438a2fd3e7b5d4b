"""The one-machine run as a person uses it: started, killed, restarted, stopped. Without the demo fleet."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from jatevo.local.keeper import MOST_RESTARTS
from jatevo.local.postgres import DATABASE, SUPERUSER
from jatevo.metrics.facts import FactKind, UptimeFact
from tests import template_home

BASE_DIR = Path(__file__).parents[2]
UP_TIMEOUT_SECONDS = 90.0
RECOVERY_SECONDS = 60.0
pytestmark = pytest.mark.timeout(900)  # several starts, on whatever else the machine is doing
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
        """Reads the lines up to the end of the announcement. Returns the seconds since the start."""
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


def named(family: list[psutil.Process]) -> list[tuple[psutil.Process, str]]:
    """Each process with its name, without those that have ended meanwhile."""
    found = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            found.append((process, process.name()))
    return found


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


def ask(method: str, url: str, **more: Any) -> httpx.Response:
    """httpx itself waits five seconds, which the first request after a start may take on a busy machine."""
    return httpx.request(method, url, timeout=RECOVERY_SECONDS, **more)


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


def test_first_start_kill_and_clean_stop(home: Path, start: type[Run]) -> None:
    first = start(home)
    first_seconds = first.wait_until_up()
    assert ask("GET", f"{first.url}healthz").status_code == 200

    credentials = home / "credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    logins = json.loads(credentials.read_text())
    assert set(logins) == {"admin", "operator", "viewer"}
    assert all(set(login) == {"email", "password"} for login in logins.values())
    assert len({login["password"] for login in logins.values()}) == 3
    for login in logins.values():
        answer = ask("POST", f"{first.url}v1/auth/login", json=login)
        assert answer.status_code == 200, answer.text

    second = start(home)
    code, said = second.finish()
    assert code == 1
    assert f"pid {first.process.pid} already runs" in said

    family = first.family()
    assert {name for _, name in named(family)} >= {"postgres", "valkey-server"}
    first.process.kill()
    assert gone(family), "children outlived a killed console"

    again = start(home)
    assert again.wait_until_up() < first_seconds, "it does again what the first start did"
    assert ask("GET", f"{again.url}healthz").status_code == 200
    assert json.loads(credentials.read_text()) == logins
    assert ask("POST", f"{again.url}v1/auth/login", json=logins["operator"]).status_code == 200
    family = again.family()
    asked = time.monotonic()
    again.process.send_signal(signal.SIGINT)
    code, said = again.finish()
    assert code == 0, said
    assert time.monotonic() - asked < 30
    assert gone(family), "children outlived a clean stop"
    assert "Everything has stopped." in said


def killed(run: Run, name: str) -> int:
    """Kills the first of these processes, which is the server itself. Returns its id."""
    process = next(process for process, its_name in named(run.family()) if its_name == name)
    process.kill()
    return process.pid


def answers_until_another(
    run: Run, name: str, than: int, path: str, headers: dict[str, str]
) -> list[httpx.Response]:
    """The answers until another such server runs and the console answers 200 again."""
    answers: list[httpx.Response] = []
    deadline = time.monotonic() + RECOVERY_SECONDS
    with httpx.Client(timeout=RECOVERY_SECONDS) as client:
        while time.monotonic() < deadline:
            servers = [process.pid for process, its_name in named(run.family()) if its_name == name]
            answers.append(client.get(run.url + path, headers=headers))
            if servers and servers[0] != than and answers[-1].status_code == 200:
                return answers
            time.sleep(0.02)
    raise AssertionError([answer.status_code for answer in answers])


def outbox_drains(home: Path) -> bool:
    """Whether the worker ships a fact that is put into the outbox now."""
    fact = UptimeFact(node_id="node-1", minute=int(time.time()), up=True, beats=1)
    deadline = time.monotonic() + RECOVERY_SECONDS
    with database(home) as connection:
        row = connection.execute(
            "INSERT INTO metrics_outbox (kind, body) VALUES (%s, %s) RETURNING id",
            [FactKind.UPTIME.value, json.dumps(fact.to_body())],
        ).fetchone()
        while time.monotonic() < deadline:
            if connection.execute("SELECT 1 FROM metrics_outbox WHERE id = %s", row).fetchone() is None:
                return True
            time.sleep(0.1)
    return False


def database(home: Path) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(host=str(home / "run" / "pg"), user=SUPERUSER, dbname=DATABASE, autocommit=True)


def test_console_outlives_its_stores(home: Path, start: type[Run]) -> None:
    template_home.copy_into(home)
    run = start(home)
    run.wait_until_up()
    login = json.loads((home / "credentials.json").read_text())["operator"]
    signed_in = ask("POST", f"{run.url}v1/auth/login", json=login).json()
    bearer = {"Authorization": f"Bearer {signed_in['access']}"}

    paths = ("healthz", "login/", "v1/nodes")
    for path in paths:  # what a first request loads is not what a dead store costs
        ask("GET", run.url + path, headers=bearer)
    killed(run, "valkey-server")
    for path in paths:
        answer = ask("GET", run.url + path, headers=bearer)
        assert answer.status_code == 200, answer.text
        assert answer.elapsed.total_seconds() < 2

    ended = killed(run, "postgres")
    answers = answers_until_another(run, "postgres", ended, "v1/nodes", bearer)
    # A request that waits for its connection meanwhile may not notice.
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} <= {503}
    assert {answer.json()["error"]["type"] for answer in refused} <= {"unavailable"}
    assert ask("GET", f"{run.url}healthz").status_code == 200
    assert outbox_drains(home)

    with database(home) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = %s AND pid <> pg_backend_pid()",
            [SUPERUSER],
        )
    assert outbox_drains(home)
    assert ask("GET", f"{run.url}v1/nodes", headers=bearer).status_code == 200

    family = run.family()
    assert {name for _, name in named(family)} >= {"postgres", "valkey-server"}
    while run.process.poll() is None:  # kill it after every restart
        for process, name in named(run.family() if psutil.pid_exists(run.process.pid) else []):
            if name == "valkey-server":
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(0.05)
    code, said = run.finish()
    assert code == 1
    assert said.count("Valkey ended (code -9); started it again.") == MOST_RESTARTS
    assert said.count("PostgreSQL ended (code -9); started it again.") == 1
    assert f"Valkey ended with code -9, after {MOST_RESTARTS} restarts within 60 s" in said
    assert "Traceback" not in said
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
