"""A console as services with its lane, under a supervisor that starts again what ends, as systemd does."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import clickhouse_driver
import httpx
import psutil
import psycopg

from jatevo.local import keys, postgres, valkey
from jatevo.local.children import Children
from jatevo.local.stores import make_home
from tests.chaos.console_process import BASE_DIR, FORWARDED, UP_TIMEOUT_SECONDS
from tests.chaos.services import SEED_USERS, credentials_of
from tests.metrics import clickhouse_server
from tests.stopping import processes_of

WEB_PROCESSES: Final = 2
LANE_PROCESSES: Final = 2
SECONDS_BEFORE_RESTART: Final = 0.1  # systemd's RestartSec
_RATE: Final = """
import django
django.setup()
from datetime import UTC, datetime
from earnings.models import Rate
since = datetime(2026, 1, 1, tzinfo=UTC)
Rate.objects.create(model="", input_usd="0.1", output_usd="0.3", holds_from=since, created_by="chaos")
"""


@dataclass
class Unit:
    """A service. `start` launches it without waiting until it serves."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes]"
    restarts: int = 0
    kept: bool = True  # whether the supervisor starts it again

    def processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return processes_of(self.process.pid)
        return []


class SupervisedConsole:
    """So many `webs` and `lanes` (of two processes each), a worker, PostgreSQL, Valkey and ClickHouse.

    `prefix` are words that are put before the commands of the console's own processes and of PostgreSQL, `settings`
    is environment for the console. Raises RuntimeError without Debian's clickhouse-server.
    """

    def __init__(
        self,
        *,
        webs: int = 1,
        lanes: int = 1,
        settings: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        binary = clickhouse_server.find_binary()
        if binary is None:
            raise RuntimeError(
                "clickhouse-server is not installed (Debian: apt-get install clickhouse-server)"
            )
        # A short path: PostgreSQL's socket lies below it.
        self.home = make_home(Path(tempfile.mkdtemp(prefix="jatevo-chaos-")))
        names = ["web", *(f"web {number}" for number in range(1, webs))]
        names += [f"lane {number}" for number in range(lanes)]
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        addresses = {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}
        self.webs = tuple(address for name, address in addresses.items() if name.startswith("web"))
        self.lanes = tuple(address for name, address in addresses.items() if name.startswith("lane"))
        self.url = self.webs[0]
        self.units: dict[str, Unit] = {}
        self._binary = binary
        self._settings = dict(settings or {})
        self._prefix = prefix
        self._children = Children(self.home / "run" / "children")
        self._ending = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self.failures: list[str] = []  # of the supervisor itself

    @property
    def lane(self) -> str:
        return self.lanes[0]

    def start(self) -> None:
        """Start everything, wait until it is ready, and supervise it from then on."""
        self._start_stores()
        self.manage("migrate", "-v0")
        self.manage("metrics_migrate")
        self.manage("collectstatic", "--noinput", "-v0")
        self.script(SEED_USERS, str(self.home))
        for name in self._ports:
            self.add(name, self._launching(name, self._server(name)))
        self.add("worker", self._launching("worker", [sys.executable, "manage.py", "worker"]))
        self.wait_until_ready()
        self._supervisor.start()

    def wait_until_ready(self, *, within_seconds: float = UP_TIMEOUT_SECONDS) -> None:
        """Waits until web and lanes have all of their stores, and the worker runs."""
        deadline = time.monotonic() + within_seconds
        while not all(is_ready(url) for url in (*self.webs, *self.lanes)):
            assert time.monotonic() < deadline, f"the console is not ready:\n{self.output()}"
            time.sleep(0.1)
        assert self.units["worker"].process.poll() is None, self.output()

    def remove(self) -> None:
        self._ending.set()
        if self._supervisor.ident is not None:
            self._supervisor.join()
        for unit in self.units.values():
            for process in unit.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            _kill_group(unit.process.pid)
            unit.process.wait()
        self._children.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def manage(self, *words: str) -> str:
        """What a command of manage.py prints. Raises CalledProcessError if it fails."""
        return self._finish([sys.executable, "manage.py", *words])[0]

    def script(self, text: str, *arguments: str) -> str:
        """What a script prints that imports the console's code."""
        return self._finish([sys.executable, "-c", text, *arguments])[0]

    def script_output(self, text: str) -> tuple[str, str]:
        """The same, with what it prints on stderr."""
        return self._finish([sys.executable, "-c", text])

    def credentials(self, role: str) -> Any:
        return credentials_of(self.home, role)

    def output(self) -> str:
        return (self.home / "output.log").read_text(errors="replace")[-6000:]

    def database(self) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(
            host=str(self.home / "run" / "pg"), user=postgres.SUPERUSER, dbname=postgres.DATABASE
        )

    def put_in_service(self) -> None:
        """Makes all nodes active, as after a validator's visits."""
        with self.database() as connection:
            connection.execute(
                "UPDATE nodes_node SET status = 'active', status_since = now(), probing_since = NULL"
            )

    def set_a_rate(self) -> None:
        """For all models. Without one, receipts wait for it, and have no items."""
        self.script(_RATE)

    def clickhouse(self) -> clickhouse_driver.Client:
        return clickhouse_driver.Client.from_url(self._clickhouse.url())

    def address_of(self, unit: str) -> str | None:
        """Where it serves, if it does."""
        return f"http://127.0.0.1:{self._ports[unit]}" if unit in self._ports else None

    def restarts(self) -> dict[str, int]:
        return {unit.name: unit.restarts for unit in self.units.values()}

    def manage_for_ever(self, name: str, *words: str) -> None:
        """Runs a command of manage.py as a service."""
        self.add(name, self._launching(name, [sys.executable, "manage.py", *words]))

    def add(self, name: str, start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        """A service that is started now, and again whenever it ends."""
        self.adopt(name, start, start())

    def adopt(
        self, name: str, again: Callable[[], "subprocess.Popen[bytes]"], process: "subprocess.Popen[bytes]"
    ) -> None:
        """A service that runs already, and is started again whenever it ends."""
        self.units[name] = Unit(name, again, process)

    def _supervise(self) -> None:
        while not self._ending.wait(SECONDS_BEFORE_RESTART):
            for unit in list(self.units.values()):
                if not unit.kept or unit.process.poll() is None:
                    continue
                # What is left of a service's processes ends with it (systemd's KillMode=control-group).
                _kill_group(unit.process.pid)
                try:
                    unit.process = unit.start()
                except Exception as error:
                    self.failures.append(f"{unit.name}: {error!r}")
                    continue
                unit.restarts += 1

    def _start_stores(self) -> None:
        self._postgres = postgres.start(self.home, self._children)
        if self._prefix:
            postgres.stop(self._postgres, self._children)
            command = self._postgres.command
            server = next(number for number, word in enumerate(command) if word.endswith("/postgres"))
            command = (*command[:server], *self._prefix, *command[server:])  # after a change of user
            self._postgres = replace(self._postgres, command=command)
            self._postgres = postgres.restart(self._postgres, self._children)
            self._wait_for_postgresql()
        self._valkey = valkey.start(self.home, self._children)
        folder = self.home / "clickhouse"
        folder.mkdir()
        self._clickhouse = clickhouse_server.start(self._binary, folder)
        self.units["postgresql"] = Unit("postgresql", self._postgres_again, self._postgres.child.process)
        self.units["valkey"] = Unit("valkey", self._valkey_again, self._valkey.child.process)
        self.units["clickhouse"] = Unit("clickhouse", self._clickhouse_again, self._clickhouse.process)

    def _wait_for_postgresql(self) -> None:
        deadline = time.monotonic() + UP_TIMEOUT_SECONDS
        while True:
            try:
                self.database().close()
                return
            except psycopg.OperationalError:
                assert self._postgres.child.running(), self._postgres.child.last_words()
                assert time.monotonic() < deadline, self._postgres.child.last_words()
                time.sleep(0.1)

    def _postgres_again(self) -> "subprocess.Popen[bytes]":
        self._postgres = postgres.restart(self._postgres, self._children)
        return self._postgres.child.process

    def _valkey_again(self) -> "subprocess.Popen[bytes]":
        self._valkey = valkey.restart(self._valkey, self.home, self._children)
        return self._valkey.child.process

    def _clickhouse_again(self) -> "subprocess.Popen[bytes]":
        self._clickhouse = clickhouse_server.restart(self._clickhouse, self._binary, self.home / "clickhouse")
        return self._clickhouse.process

    def _server(self, name: str) -> list[str]:
        port = ["--port", str(self._ports[name])]
        if not name.startswith("web"):
            return [sys.executable, "-m", "jatevo.lane", *port, "--workers", str(LANE_PROCESSES)]
        granian = [str(Path(sys.executable).with_name("granian")), "--host", "127.0.0.1", *port]
        return [*granian, "--interface", "wsgi", "--workers", str(WEB_PROCESSES), "jatevo.wsgi:application"]

    def _launching(self, name: str, command: list[str]) -> Callable[[], "subprocess.Popen[bytes]"]:
        def launch() -> "subprocess.Popen[bytes]":
            with (self.home / "output.log").open("ab") as output:
                return subprocess.Popen(
                    [*self._prefix, *command],
                    cwd=BASE_DIR,
                    env=self._environment(),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

        return launch

    def _environment(self) -> dict[str, str]:
        env = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        env |= keys.load_or_make(self.home)
        env |= self._postgres.environment
        env |= {
            "JATEVO_HOME": str(self.home),
            "REDIS_URL": self._valkey.url,
            "CLICKHOUSE_URL": self._clickhouse.url(),
            "PORT": str(self._ports["web"]),
            "DJANGO_SETTINGS_MODULE": "jatevo.settings",
        }
        return env | self._settings

    def _finish(self, command: list[str]) -> tuple[str, str]:
        done = subprocess.run(
            command, cwd=BASE_DIR, env=self._environment(), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout, done.stderr


@dataclass(frozen=True)
class Fault:
    """SIGKILL, or SIGSTOP for a while, of a unit: of all of its processes, or of a `part` of them."""

    signal: signal.Signals
    unit: str
    part: str = ""

    def __str__(self) -> str:
        verb = "kill" if self.signal == signal.SIGKILL else "stop"
        return f"{verb} {self.part or self.unit}"

    def strike(self, console: SupervisedConsole, dice: random.Random, *, seconds: float) -> bool:
        """Returns whether it hit something. Holds a stop for `seconds`."""
        family = console.units[self.unit].processes()
        if self.part == "postmaster":
            family = family[:1]
        elif self.part:  # one backend, or one process of a server
            members = [each for each in family[1:] if "resource_tracker" not in " ".join(each.cmdline())]
            family = [dice.choice(members)] if members else []
        _send(family, self.signal)
        if self.signal == signal.SIGSTOP:
            time.sleep(seconds)
            _send(family, signal.SIGCONT)
        return bool(family)


def faults(count: int, dice: random.Random) -> list[Fault]:
    """So many faults, with each kind as often as every other, in a random order."""
    kinds = [
        Fault(number, *victim)
        for number in (signal.SIGKILL, signal.SIGSTOP)
        for victim in (
            ("web",),
            ("web", "web process"),
            ("lane 0",),
            ("lane 0", "lane process"),
            ("worker",),
            ("postgresql", "postmaster"),
            ("postgresql", "backend"),
            ("valkey",),
            ("clickhouse",),
        )
    ]
    kinds.append(Fault(signal.SIGSTOP, "postgresql"))
    chosen: list[Fault] = []
    while len(chosen) < count:
        dice.shuffle(kinds)
        chosen += kinds
    return chosen[:count]


def counted(chosen: list[Fault]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(Counter(map(str, chosen)).items()))


def _send(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def is_ready(url: str) -> bool:
    """Whether a process serves there that has all of its stores."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5, trust_env=False)
        return answer.status_code == 200 and answer.json()["status"] == "ready"
    except httpx.HTTPError:
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_until_all_are_known:
        probes = [open_until_all_are_known.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
