"""The console's application on each of its servers. `python -m tests.web.serving PORT` runs waitress."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
from django.conf import settings
from django.db import connection

from jatevo.local import checks
from jatevo.web.postgresql.budgets import INGEST

BASE_DIR = Path(__file__).parents[2]
START_SECONDS = 100.0  # on two busy cores; on idle ones it takes five
STOP_SECONDS = 20.0


class ServerUnderTest(StrEnum):
    WAITRESS = "waitress"  # the one-machine run
    GRANIAN = "granian"  # services
    LANE = "lane"  # beside granian, for what machines post
    LANES = "lanes"  # the same in two processes


@contextmanager
def serving(server: ServerUnderTest, folder: Path) -> Iterator[int]:
    """The port of a process that serves the application on this test run's database, without metrics."""
    with checks.claim_port(0) as claimed:
        port: int = claimed.getsockname()[1]
    with (folder / f"{server}.log").open("wb") as log:
        process = subprocess.Popen(
            _command(server, port), cwd=BASE_DIR, env=services_environment(folder), stdout=log, stderr=log
        )
        try:
            _wait(process, port, folder / f"{server}.log")
            yield port
        finally:
            process.terminate()
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(server: ServerUnderTest, port: int) -> list[str]:
    if server is ServerUnderTest.WAITRESS:
        return [sys.executable, "-m", "tests.web.serving", str(port)]
    if server in (ServerUnderTest.LANE, ServerUnderTest.LANES):
        number = 1 if server is ServerUnderTest.LANE else 2
        return [sys.executable, "-m", "jatevo.lane", "--port", str(port), "--workers", str(number)]
    granian = [str(Path(sys.executable).with_name("granian")), "--host", checks.LOOPBACK, "--port", str(port)]
    return [*granian, "--interface", "wsgi", "--blocking-threads", "4", "jatevo.wsgi:application"]


def forget_fresh_connections() -> None:
    """Waits until a server checks each of its connections before use, as it has to once the database was made anew."""
    time.sleep(INGEST.fresh_seconds)


def services_environment(folder: Path) -> dict[str, str]:
    """That of a process on this test run's database."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(database),
        "CLICKHOUSE_URL": f"clickhouse://{checks.LOOPBACK}:9/nobody",
        "JATEVO_EMBEDDED": "",
        "JATEVO_HOME": str(folder),
        "JATEVO_STATIC_ROOT": str(settings.STATIC_ROOT),
    }


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"http://{checks.LOOPBACK}:{port}/static/", trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the server did not start:\n{log.read_text()[-4000:]}")


def _serve_with_waitress(port: int) -> None:
    """Runs the web server of `make run` until SIGTERM."""
    from jatevo.wsgi import application  # isort: skip - loads Django

    from jatevo.local.web_server import WebServer

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = WebServer(application, checks.claim_port(port))
    server.start()
    ended.wait()
    server.stop(grace_seconds=2)
    os._exit(0)


if __name__ == "__main__":
    _serve_with_waitress(int(sys.argv[1]))
