"""The one-machine run from the first check to the last stopped child."""

import os
import platform
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from jatevo.local import checks, console_log, model_server, postgres, valkey
from jatevo.local.lock import sole_console
from jatevo.local.log_files import rotate_all
from jatevo.local.problems import CannotStart
from jatevo.local.steps import Steps
from jatevo.local.stopping import StopRequest, StopRequested
from jatevo.local.stores import Stores, make_home

if TYPE_CHECKING:
    # These need Django's settings, so they are imported after the stores have started.
    from jatevo.local.demo import DemoFleet
    from jatevo.local.seed import Login
    from jatevo.local.web_server import WebServer
    from jatevo.local.worker import WorkerThread

DEFAULT_PORT = "8000"
WATCH_SECONDS = 0.25
DEMO_GRACE_SECONDS = 2.0
FIGURES_SECONDS = 5.0
WEB_GRACE_SECONDS = 2.0
WORKER_GRACE_SECONDS = 3.0


def run(home: Path, asked_to_stop: StopRequest) -> int:
    """Start everything, watch it until asked to stop, then stop everything. Returns the exit code.

    Raises CannotStart.
    """
    steps = Steps()
    console = OneMachineConsole(home, steps, asked_to_stop)
    problem: str | None = None
    with console.shutdown:
        try:
            _announce(steps, console, console.start())
            problem = console.watch()
        except StopRequested:
            pass
        steps.say(f"\n{problem} Stopping." if problem else "\nStopping.")
    steps.say("Everything has stopped.")
    code = 1 if problem else 0
    if console.job_left_running():
        sys.stdout.flush()
        os._exit(code)  # the interpreter would wait for that job's thread
    return code


class OneMachineConsole:
    """The parts of the run. `shutdown` stops what was started, in reverse order."""

    def __init__(self, home: Path, steps: Steps, asked_to_stop: StopRequest) -> None:
        self.home = home
        self.url = ""
        self.shutdown = ExitStack()
        self._steps = steps
        self._asked_to_stop = asked_to_stop
        self._stores: Stores | None = None
        self._web: WebServer | None = None
        self._worker: WorkerThread | None = None
        self._fleet: DemoFleet | None = None
        self._has_model = False

    def start(self) -> "list[Login]":
        self._steps.say(f"Jatevo console in {self.home}")
        claimed = self._check()
        self._start_stores()
        self._load_django()
        has_demo = os.environ.get("JATEVO_DEMO", "1").lower() not in {"0", "false", "no", "off"}
        logins = self._fill()
        if has_demo:
            self._seed_prices()
        self._serve(claimed)
        if has_demo:
            self._start_demo(logins)
        self._say_what_is_invented()
        self._take_figures()
        from jatevo.web import health

        health.mark_ready()
        self.shutdown.callback(health.mark_stopping)
        return logins

    def watch(self) -> str | None:
        """Wait until asked to stop. If a part has failed for good, return a sentence that says which.

        A store that dies is restarted. Until it is back, the console works without it.
        """
        logs = self.home / "logs"
        log = logs / "console.log"
        while not self._asked_to_stop.wait(WATCH_SECONDS):
            rotate_all(logs)
            if self._stores is not None:
                try:
                    for line in self._stores.keep_running(at=time.monotonic()):
                        self._steps.say(line)
                except CannotStart as problem:
                    return str(problem)
                except OSError as problem:  # such as a full disk
                    return f"A store has ended and cannot be started again: {problem}."
            if self._web is not None and not self._web.running():
                return f"The web server has ended; {log} says why."
            if self._worker is not None and not self._worker.running():
                return f"The worker has ended; {log} says why."
            if self._fleet is not None:
                self._fleet.tick(at=time.monotonic())
        return None

    def job_left_running(self) -> bool:
        return self._worker is not None and self._worker.running()

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        if self._asked_to_stop.is_set():
            raise StopRequested
        with self._steps.step(name), self._asked_to_stop.before_problems():
            yield

    def _check(self) -> socket.socket:
        with self._step(f"Python {platform.python_version()}"):
            checks.python_is_new_enough()
        self._has_model = _wants_model()
        with self._step("Folders and disk space"):
            checks.home_is_usable(self.home)
            self.home = make_home(self.home)
            self.shutdown.enter_context(sole_console(self.home))
        with self._step("Port"):
            claimed = checks.claim_port(checks.wanted_port(os.environ.get("PORT") or DEFAULT_PORT))
            self.shutdown.callback(claimed.close)
            port = claimed.getsockname()[1]
        os.environ["PORT"] = str(port)
        self.url = f"http://{checks.LOOPBACK}:{port}"
        return claimed

    def _start_stores(self) -> None:
        with self._step("Secrets"):
            self._stores = Stores(self.home)
            self.shutdown.callback(self._stores.stop)
            os.environ.update(self._stores.secrets())
        with self._step(f"PostgreSQL {postgres.VERSION}"):
            self._stores.start_postgres()
        with self._step(f"Valkey {valkey.VERSION}"):
            self._stores.start_valkey()
        os.environ.update(self._stores.environment())

    def _load_django(self) -> None:
        with self._step("Django"):
            import django

            os.environ["DJANGO_SETTINGS_MODULE"] = "jatevo.settings"
            django.setup()
            from jatevo.web import health

            health.mark_starting()

    def _fill(self) -> "list[Login]":
        from django.core.management import call_command

        from jatevo.local.seed import seed_users
        from jatevo.local.static_files import collect
        from jatevo.metrics.store import close_stores

        with self._step("Migrations"):
            call_command("migrate", interactive=False, verbosity=0)
        with self._step("Metrics tables"):
            self.shutdown.callback(close_stores)
            call_command("metrics_migrate", stdout=StringIO())
        with self._step("Static files"):
            collect(self.home)
        with self._step("Users"):
            return seed_users(self.home)

    def _seed_prices(self) -> None:
        """Before the worker starts to accrue, because prices from the past are refused from then on."""
        from jatevo.local.demo_earnings import seed_prices

        seed_prices()

    def _serve(self, claimed: socket.socket) -> None:
        with self._step("Web application"):
            # Imported after the static files, because its middleware lists them once.
            from jatevo.wsgi import application

            # The import configures logging again. Until here, they go to the terminal.
            self.shutdown.enter_context(console_log.to_file(self.home / "logs" / "console.log"))
        with self._step("Worker"):
            from jatevo.local.worker import WorkerThread

            self._worker = WorkerThread()
            self._worker.start()
            self.shutdown.callback(self._worker.wait, timeout_seconds=WORKER_GRACE_SECONDS)
        with self._step("Web server"):
            from jatevo.local.web_server import WebServer

            self._web = WebServer(application, claimed)
            self._web.start()
            self.shutdown.callback(self._web.stop, grace_seconds=WEB_GRACE_SECONDS)
            # Called before the web server is stopped, so that both stop at the same time.
            self.shutdown.callback(self._worker.ask_to_stop)

    def _start_demo(self, logins: "list[Login]") -> None:
        from jatevo.accounts.models import Role
        from jatevo.local.demo import DemoFleet, ensure_history

        people = {login.role: login.user for login in logins}
        operator = people[Role.OPERATOR]
        if self._stores is None or operator.org is None:
            return
        with self._step("Demo history"):
            ensure_history(self.home, console_url=self.url, org=operator.org, by=operator)
        with self._step("Demo fleet"):
            self._fleet = DemoFleet(
                self.home,
                self._stores.children,
                console_url=self.url,
                org=operator.org,
                by=operator,
                admin=people[Role.ADMIN],
                with_model=self._has_model,
            )
            self.shutdown.callback(self._fleet.stop, grace_seconds=DEMO_GRACE_SECONDS)
            self._fleet.tick(at=time.monotonic())

    def _take_figures(self) -> None:
        """Waits for the first figures. The engine's first queries are slow, and the first page needs them."""
        with self._step("Figures"):
            from django.utils import timezone

            from jatevo.overview import kpis

            until = time.monotonic() + FIGURES_SECONDS
            while kpis.take(at=timezone.now()).trouble and time.monotonic() < until:
                if self._asked_to_stop.wait(WATCH_SECONDS):
                    raise StopRequested
        with self._step("Earnings"):
            from earnings.accrual import accrue

            accrue(at=timezone.now(), seconds=FIGURES_SECONDS)

    def _say_what_is_invented(self) -> None:
        """Shows the notice about invented history. The history stays even if the demo fleet is off."""
        from jatevo.local.demo import history_until
        from jatevo.local.demo_history import notice
        from jatevo.web import notices

        if until := history_until(self.home):
            notices.show(notice(until))


def _wants_model() -> bool:
    """Whether `MODEL=1` asks for a real runtime. Raises CannotStart if it cannot be had."""
    if os.environ.get("MODEL", "").lower() in {"", "0", "false", "no", "off"}:
        return False
    if model_server.weights() is None:
        raise CannotStart(f"{model_server.NOT_INSTALLED} This machine may have no wheels for them.")
    return True


def _announce(steps: Steps, console: OneMachineConsole, logins: "list[Login]") -> None:
    steps.say(f"\nUp after {steps.elapsed_seconds():.1f} s: {console.url}/\n")
    for login in logins:
        password = login.password if login.current else "(changed since in the console)"
        steps.say(f"  {login.role:<10} {login.user.email:<28} {password}")
    steps.say(
        f"\nThe logins are also in {console.home / 'credentials.json'}. Logs are in {console.home / 'logs'}."
    )
    steps.say("Ctrl-C stops everything and keeps the data.")
