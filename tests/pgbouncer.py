"""Debian's PgBouncer before this test run's PostgreSQL, in transaction mode with two sessions."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from django.db import connection

from jatevo.local import checks
from jatevo.local.unprivileged import server_user
from jatevo.web.postgresql.base import DatabaseWrapper

ROLE: Final = "jatevo_pooled"
SESSIONS: Final = 2
START_SECONDS: Final = 60.0
LIMITS: Final = {
    "statement_timeout": "5s",
    "lock_timeout": "1s",
    "client_connection_check_interval": "1s",
}
CONFIGURATION: Final = """
[databases]
* = host={socket_folder} user={role}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
query_wait_timeout = 30
"""


@dataclass(frozen=True)
class Pooler:
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"postgres://{ROLE}@{checks.LOOPBACK}:{self.port}/{connection.settings_dict['NAME']}"

    def wrapper(self) -> DatabaseWrapper:
        """Django's connection, whose requests go through the pooler and whose worker does not."""
        direct = connection.settings_dict
        own = {**direct, "HOST": checks.LOOPBACK, "PORT": self.port, "USER": ROLE, "DIRECT": direct}
        return DatabaseWrapper(own, alias=f"pooled-{self.port}")

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=checks.LOOPBACK,
            port=self.port,
            user=ROLE,
            dbname=connection.settings_dict["NAME"],
            prepare_threshold=None,
        )


@contextmanager
def pooler() -> Iterator[Pooler]:
    """Skips the test where PgBouncer is not installed."""
    binary = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if binary is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with checks.claim_port(0) as claimed:
        port: int = claimed.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="jatevo-pgbouncer-"))
    # PgBouncer does not run as root. PostgreSQL's user may enter the folder of its socket.
    socket_folder = Path(os.environ["PGHOST"])
    user = server_user(socket_folder, must_reach=(socket_folder,))
    folder.chmod(0o755)
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(socket_folder=socket_folder, role=ROLE, port=port, sessions=SESSIONS)
    )
    try:
        with role(), (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*user.run, binary, str(configuration)], cwd="/", stdout=log, stderr=log
            )
            made = Pooler(port, process)
            try:
                _wait(made, folder / "log")
                yield made
            finally:
                process.terminate()
                process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


@contextmanager
def role() -> Iterator[None]:
    """The role of requests, with the limits that no pooler passes on."""
    with _administration() as server:
        server.execute(f"CREATE ROLE {ROLE} LOGIN SUPERUSER")
        for name, value in LIMITS.items():
            server.execute(f"ALTER ROLE {ROLE} SET {name} = '{value}'")
    try:
        yield
    finally:
        with _administration() as server:
            server.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = %s", [ROLE]
            )
            server.execute(f"DROP ROLE {ROLE}")


def _wait(made: Pooler, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            made.connect().close()
            return
        except psycopg.OperationalError:
            assert made.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def _administration() -> "psycopg.Connection[Any]":
    return psycopg.connect(host=os.environ["PGHOST"], dbname="postgres", autocommit=True)
