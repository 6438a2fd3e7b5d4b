"""Debian's PostgreSQL with pgBackRest, as docs/operations.md sets them up, in a folder of their own."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

STANZA: Final = "jatevo"
DATABASE: Final = "jatevo"
START_SECONDS: Final = 120.0
CONFIGURATION: Final = """[global]
repo1-path={home}/repo
repo1-retention-full=2
log-level-file=off
log-level-console=warn
lock-path={home}/lock
spool-path={home}/spool
compress-type=zst
process-max=2
start-fast=y

[{stanza}]
pg1-path={data}
pg1-socket-path={home}/run
pg1-port={port}
pg1-user=jatevo
"""
PORT: Final = 5432  # of the socket: it listens on no address


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL server of Debian's packages, if pgBackRest is there too."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found and shutil.which("pgbackrest") else None


@dataclass
class ArchivedPostgreSQL:
    """A server that archives its log. Neither it nor pgBackRest runs as root."""

    home: Path
    binaries: Path
    data: Path = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.data = self.home / "data"
        for name in ("repo", "run", "lock", "spool"):
            (self.home / name).mkdir()
        self._configure(self.data)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (self.home, *self.home.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    @property
    def url(self) -> str:
        return f"postgres://jatevo@/{DATABASE}?host={self.home}/run"

    def create(self) -> None:
        """An empty cluster that archives, and pgBackRest's stanza for it."""
        self.run(
            self.binaries / "initdb", "-D", self.data, "--username=jatevo", "--auth=trust", "--locale=C.UTF-8"
        )
        self.start()
        with self._connect("postgres") as server:
            server.execute(f"CREATE DATABASE {DATABASE}")
        self.backrest("stanza-create")
        self.backrest("check")

    def start(self) -> None:
        """Starts it and waits until it takes statements: after a restore, once it has replayed the log."""
        command = f"pgbackrest --config={self._configuration} --stanza={STANZA} archive-push %p"
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f"{self.home}/run",
            "archive_mode": "on",
            "archive_command": command,
            "archive_timeout": "60",
            "timezone": "UTC",
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "postgresql.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_unprivileged(), str(self.binaries / "postgres"), "-D", str(self.data), *words],
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._serves():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    def backup(self, kind: str) -> None:
        self.backrest(f"--type={kind}", "backup")

    def archive_all(self) -> None:
        """Waits until the log up to now is in the repository."""
        with self.connect() as server:
            ((segment,),) = server.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchall()
            deadline = time.monotonic() + START_SECONDS
            while True:
                server.rollback()
                ((last,),) = server.execute("SELECT last_archived_wal FROM pg_stat_archiver").fetchall()
                if last is not None and last >= segment:
                    return
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.1)

    def restore(self, at: datetime) -> None:
        """Into another folder, which is the cluster's from then on. It stops before the first commit after `at`."""
        self.data = self.home / "restored"
        self.data.mkdir(mode=0o700)
        shutil.copystat(self.home / "data", self.data)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
        self._configure(self.data)
        target = f"--target={at:%Y-%m-%d %H:%M:%S.%f+00}"
        self.backrest("--type=time", target, "--target-action=promote", "restore")

    def backrest(self, *words: str) -> str:
        return self.run("pgbackrest", f"--config={self._configuration}", f"--stanza={STANZA}", *words)

    def run(self, *command: "str | Path") -> str:
        words = [*_unprivileged(), *map(str, command)]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}\n{self.log()}"
        return done.stdout

    def connect(self) -> "psycopg.Connection[Any]":
        return self._connect(DATABASE)

    def log(self) -> str:
        path = self.home / "postgresql.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def repository_bytes(self) -> int:
        return sum(path.stat().st_size for path in (self.home / "repo").rglob("*") if path.is_file())

    @property
    def _configuration(self) -> Path:
        return self.home / "pgbackrest.conf"

    def _configure(self, data: Path) -> None:
        text = CONFIGURATION.format(home=self.home, stanza=STANZA, data=data, port=PORT)
        self._configuration.write_text(text)

    def _connect(self, database: str) -> "psycopg.Connection[Any]":
        return psycopg.connect(host=f"{self.home}/run", user="jatevo", dbname=database, autocommit=True)

    def _serves(self) -> bool:
        try:
            with self._connect("postgres") as server:
                ((recovers,),) = server.execute("SELECT pg_is_in_recovery()").fetchall()
                return not recovers
        except psycopg.OperationalError:
            return False


def _unprivileged() -> Sequence[str]:
    """What goes before a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--")
