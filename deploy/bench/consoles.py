"""Starts the console to measure: the one-machine run, or a deployment of services on Debian's ClickHouse."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.metrics import clickhouse_server

BASE_DIR = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60
# The measured requests must not be refused, and invented nodes must not go offline without heartbeats.
SETTINGS = {
    "JATEVO_LIMIT_READS": "100000/second",
    "JATEVO_LIMIT_PAGES": "100000/second",
    "JATEVO_LIMIT_EXPORTS": "100000/second",
    "JATEVO_ACCESS_TTL_SECONDS": "14400",
    "JATEVO_OFFLINE_AFTER_SECONDS": "86400",
    "JATEVO_LOG_LEVEL": "WARNING",
}
WEB_PROCESSES = 2


def django_command(*words: str, env: dict[str, str]) -> None:
    """Runs `manage.py …` with its output on the terminal."""
    subprocess.run([sys.executable, "manage.py", *words], cwd=BASE_DIR, env=env, check=True)


def load(*words: str, env: dict[str, str]) -> None:
    """Runs `python -m bench.load …` with its output on the terminal."""
    subprocess.run([sys.executable, "-m", "bench.load", *words], cwd=BASE_DIR, env=env, check=True)


@contextmanager
def one_machine(env: dict[str, str], log: Path) -> Iterator[str]:
    """Runs the console as `make run` does. Yields its base URL."""
    with _running([[sys.executable, "-m", "bench.serve"]], env, log) as base:
        yield base


@contextmanager
def services(
    env: dict[str, str], log: Path, *, web_processes: int = WEB_PROCESSES, niceness: int = 0
) -> Iterator[str]:
    """Runs the console with granian's processes and a separate worker, which may be nice to others. Yields its base URL."""
    web = [
        str(Path(sys.executable).with_name("granian")),
        "--interface",
        "wsgi",
        "--workers",
        str(web_processes),
    ]
    web += ["--host", "127.0.0.1", "--port", env["PORT"], "jatevo.wsgi:application"]
    django_command("collectstatic", "--noinput", "-v0", env=env)
    with _running([web, _nice(niceness, [sys.executable, "manage.py", "worker"])], env, log) as base:
        yield base


@contextmanager
def lane(env: dict[str, str], log: Path, *, processes: int, niceness: int = 0) -> Iterator[str]:
    """Runs the ingress lane beside the console, which may be nice to others. Yields its base URL."""
    port = str(free_port())
    words = [sys.executable, "-m", "jatevo.lane", "--port", port, "--workers", str(processes)]
    with _running([_nice(niceness, words)], env | {"PORT": port}, log) as base:
        yield base


def _nice(niceness: int, words: list[str]) -> list[str]:
    return ["nice", "-n", str(niceness), *words] if niceness else words


@contextmanager
def clickhouse(home: Path) -> Iterator[str]:
    """Runs a private ClickHouse server with data below `home`. Yields its URL.

    Raises RuntimeError if the package is not installed.
    """
    binary = clickhouse_server.find_binary()
    if binary is None:
        raise RuntimeError("clickhouse-server is not installed (Debian: apt-get install clickhouse-server).")
    folder = home / "clickhouse"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    server = clickhouse_server.start(binary, folder)
    try:
        yield server.url()
    finally:
        clickhouse_server.stop(server)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(commands: list[list[str]], env: dict[str, str], log: Path) -> Iterator[str]:
    base = f"http://127.0.0.1:{env['PORT']}"
    with log.open("ab") as out:
        children = [
            subprocess.Popen(command, cwd=BASE_DIR, env=os.environ | env, stdout=out, stderr=out)
            for command in commands
        ]
        try:
            _wait(base, children, log)
            yield base
        finally:
            for child in children:
                child.terminate()
            for child in children:
                try:
                    child.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def _wait(base: str, children: list[subprocess.Popen[bytes]], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if any(child.poll() is not None for child in children):
            break
        try:
            if httpx.get(f"{base}/readyz", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"The console did not start; {log} says why.")
