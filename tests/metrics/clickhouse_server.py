"""A real ClickHouse server for tests: Debian's package, in a private folder, on a free loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.stopping import pause

CONFIG = """<?xml version="1.0"?>
<yandex>
    <logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
    <tcp_port>{port}</tcp_port>
    <listen_host>127.0.0.1</listen_host>
    <path>{folder}/data/</path>
    <tmp_path>{folder}/data/tmp/</tmp_path>
    <user_files_path>{folder}/data/user_files/</user_files_path>
    <users_config>users.xml</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <mark_cache_size>67108864</mark_cache_size>
    <!-- far from UTC, so that a time read in the server's zone fails a test -->
    <timezone>Asia/Tokyo</timezone>
    {more}
</yandex>
"""
USERS = """<?xml version="1.0"?>
<yandex>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <console>
            <password>p@ss:word</password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </console>
        {more_users}
    </users>
</yandex>
"""
STARTUP_SECONDS = 30
SHUTDOWN_SECONDS = 10


@dataclass(frozen=True)
class ClickHouseServer:
    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str = "jatevo") -> str:
        return f"clickhouse://console:p%40ss%3Aword@127.0.0.1:{self.port}/{database}"

    def pause(self) -> None:
        """Makes the server accept connections (the kernel does) but never answer."""
        pause(self.process.pid)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def find_binary() -> str | None:
    """Debian installs the server outside an ordinary user's PATH."""
    return shutil.which("clickhouse-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def start(
    binary: str, folder: Path, port: int | None = None, more: str = "", more_users: str = ""
) -> ClickHouseServer:
    """Starts a server, on a free port unless given, and waits until it listens. Raises RuntimeError.

    `more` and `more_users` are added to its configuration.
    """
    for name in ("data", "data/tmp", "data/user_files"):
        (folder / name).mkdir()
    port = port or free_port()
    (folder / "config.xml").write_text(CONFIG.format(folder=folder, port=port, more=more))
    (folder / "users.xml").write_text(USERS.format(more_users=more_users))
    process = _launch(binary, folder)
    server = ClickHouseServer(port, process)
    if listens(server):
        return server
    stop(server)
    errors = folder / "errors"
    raise RuntimeError(f"clickhouse-server did not start: {errors.read_text() if errors.exists() else ''}")


def listens(server: ClickHouseServer) -> bool:
    """Waits until the server listens. False if it ends, or takes too long."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def restart(ended: ClickHouseServer, binary: str, folder: Path) -> ClickHouseServer:
    """Starts a server that has ended on the same data and port. Does not wait until it listens."""
    return ClickHouseServer(ended.port, _launch(binary, folder))


def stop(server: ClickHouseServer) -> None:
    """Kills it, because a normal shutdown waits for clients and its data is not needed."""
    server.process.kill()
    server.process.wait()


def shut_down(server: ClickHouseServer) -> None:
    """Ends it in order, which ends its sessions with ZooKeeper, too. It waits for clients, but not for ever."""
    server.process.terminate()
    try:
        server.process.wait(timeout=SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        stop(server)


def _launch(binary: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [binary, f"--config-file={folder / 'config.xml'}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
