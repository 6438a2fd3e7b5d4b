"""A streaming replica of this run's private PostgreSQL, made with the wheel's pg_basebackup."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, connections

from jatevo.local import postgres
from jatevo.local.unprivileged import ServerUser, server_user
from jatevo.web.postgresql.base import DatabaseWrapper, close_pools
from jatevo.web.postgresql.connections import REPLICA_ALIAS

_START_SECONDS = 60.0
_BINARIES = postgres._binaries()


class StreamingReplica:
    """The server below `home`. `start` must be called first."""

    def __init__(self, home: Path, user: ServerUser) -> None:
        self.socket_folder = home / "run"
        self._data = home / "data"
        self._log = home / "log"
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        options = ["listen_addresses=", f"unix_socket_directories={self.socket_folder}", "fsync=off"]
        options += ["timezone=UTC", "max_standby_streaming_delay=0", "hot_standby_feedback=off"]
        command = [*self._user.run, str(_BINARIES / "postgres"), "-D", str(self._data)]
        command += [part for option in options for part in ("-c", option)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.ask("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)  # at once
            self._process.wait()
            self._process = None

    def ask(self, sql: str) -> Any:
        """The first column of the answer's first row, with a connection of its own."""
        with psycopg.connect(
            host=str(self.socket_folder), dbname="postgres", user=postgres.SUPERUSER
        ) as server:
            row = server.execute(sql).fetchone()
            return row and row[0]

    @contextmanager
    def behind(self) -> Iterator[None]:
        """Within, it receives the log and does not replay it."""
        self.ask("SELECT pg_wal_replay_pause()")
        while self.ask("SELECT pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(0.01)
        try:
            yield
        finally:
            self.ask("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Waits until it has replayed what the primary has now."""
        with _primary() as server:
            ((position,),) = server.execute("SELECT pg_current_wal_flush_lsn()").fetchall()
        deadline = time.monotonic() + _START_SECONDS
        while not self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{position}'"):
            assert time.monotonic() < deadline, "the replica does not catch up"
            time.sleep(0.01)


@contextmanager
def streaming_replica() -> Iterator[StreamingReplica]:
    """Copies the primary and starts the copy. Commits wait for the log meanwhile, as in production."""
    with _primary() as server:
        ((data,),) = server.execute("SHOW data_directory").fetchall()
        server.execute(f"ALTER ROLE {postgres.SUPERUSER} SET synchronous_commit = on")
    home = Path(tempfile.mkdtemp(prefix="jatevo-replica-"))  # a short path, for the socket
    user = server_user(Path(data), must_reach=(_BINARIES, home, Path(os.environ["PGHOST"])))
    for name in ("data", "run"):
        (home / name).mkdir(mode=0o700)
        if user.other_than_us:
            os.chown(home / name, user.uid, user.gid)
    replica = StreamingReplica(home, user)
    try:
        copy = [*user.run, str(_BINARIES / "pg_basebackup"), "-D", str(home / "data"), "-R", "-X", "stream"]
        copy += ["-c", "fast", "-h", os.environ["PGHOST"], "-U", postgres.SUPERUSER, "--no-sync"]
        subprocess.run(copy, check=True, cwd="/")
        replica.start()
        yield replica
    finally:
        replica.stop()
        with _primary() as server:
            server.execute(f"ALTER ROLE {postgres.SUPERUSER} RESET synchronous_commit")
        shutil.rmtree(home)


@contextmanager
def as_replica(socket_folder: str) -> Iterator[DatabaseWrapper]:
    """Within, the console reads from that server, as with DATABASE_REPLICA_URL."""
    for each in connections.all():
        each.close()
    close_pools()
    connections.databases[REPLICA_ALIAS] = {**connection.settings_dict, "HOST": socket_folder}
    wrapper = connections[REPLICA_ALIAS]
    assert isinstance(wrapper, DatabaseWrapper)
    try:
        yield wrapper
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections[REPLICA_ALIAS]
        del connections.databases[REPLICA_ALIAS]


def _primary() -> "psycopg.Connection[Any]":
    return psycopg.connect(host=os.environ["PGHOST"], dbname="postgres", autocommit=True)
