"""Shards of Debian's clickhouse-server in private folders, and the ZooKeeper that replicas need."""

import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.metrics import clickhouse_server
from tests.metrics.clickhouse_server import ClickHouseServer, free_port

NAME = "console"
NAME_OF_FIRST_SHARD = f"{NAME}_cut"
_JAR = Path("/usr/share/java/zookeeper.jar")  # Debian's package zookeeper; its manifest names all others
_REPLICA = """<replica><host>127.0.0.1</host><port>{port}</port>
    <user>console</user><password>p@ss:word</password></replica>"""
_SHARD = "<shard><internal_replication>true</internal_replication>{replicas}</shard>"
# the second is what the first would be without its other shards
_CLUSTER = "<remote_servers><{name}>{shards}</{name}><{name}_cut>{first}</{name}_cut></remote_servers>"
_OF_REPLICA = """
    <interserver_http_host>127.0.0.1</interserver_http_host>
    <interserver_http_port>{http_port}</interserver_http_port>
    <zookeeper><node><host>127.0.0.1</host><port>{zookeeper_port}</port></node></zookeeper>
    <macros><shard>{shard}</shard><replica>{replica}</replica></macros>
    <distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
"""
# Two replicas of 18.16 may both run a statement that one of them should (ALTER, OPTIMIZE, TRUNCATE). The second finds the
# first one's mark, and its thread for the queue ends until the server starts again.
_QUEUE_ENDED = re.compile(r"DDLWorker: Unexpected ZooKeeper error.*Node exists, path: \S+/executed")
# A replica of 18.16 hands statements about partitions to the leading one as this user.
_DEFAULT_USER = """<default>
    <password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
</default>"""


@dataclass
class ClickHouseCluster:
    """`shards` has the servers of each shard, its replicas."""

    shards: list[list[ClickHouseServer]]
    folders: dict[int, Path]  # by port
    binary: str
    zookeeper: "ZooKeeper | None" = None

    @property
    def servers(self) -> list[ClickHouseServer]:
        return [server for shard in self.shards for server in shard]

    def url(self, database: str = "jatevo") -> str:
        return self.servers[0].url(database)

    def kill(self, shard: int, replica: int = 0) -> None:
        clickhouse_server.stop(self.shards[shard][replica])

    def restart(self, shard: int, replica: int = 0) -> None:
        """Starts a killed server on its data and waits until it listens."""
        ended = self.shards[shard][replica]
        server = clickhouse_server.restart(ended, self.binary, self.folders[ended.port])
        self.shards[shard][replica] = server
        if not clickhouse_server.listens(server):
            raise RuntimeError("clickhouse-server did not start again")

    def restart_ended_queues(self) -> list[ClickHouseServer]:
        """Starts each server again that no longer runs statements ON CLUSTER, and returns them."""
        ended = [
            (shard, replica)
            for shard, servers in enumerate(self.shards)
            for replica, server in enumerate(servers)
            if _QUEUE_ENDED.search((self.folders[server.port] / "log").read_text())
        ]
        for shard, replica in ended:
            server = self.shards[shard][replica]
            clickhouse_server.shut_down(server)  # a killed one's session would keep its tables read-only
            (self.folders[server.port] / "log").unlink()
            self.restart(shard, replica)
        return [self.shards[shard][replica] for shard, replica in ended]

    def stop(self) -> None:
        for server in self.servers:
            clickhouse_server.stop(server)
        if self.zookeeper is not None:
            self.zookeeper.stop()


@dataclass(frozen=True)
class ZooKeeper:
    port: int
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def has_zookeeper() -> bool:
    return _JAR.exists() and shutil.which("java") is not None


def start(binary: str, folder: Path, *, replicas: list[int], zookeeper: bool = False) -> ClickHouseCluster:
    """Starts a cluster with so many servers for each shard, and a ZooKeeper if they are replicated."""
    keeper = _start_zookeeper(folder) if zookeeper else None
    ports = [[free_port() for _ in range(count)] for count in replicas]
    shards = [
        _SHARD.format(replicas="".join(_REPLICA.format(port=port) for port in shard)) for shard in ports
    ]
    cluster = ClickHouseCluster([[] for _ in replicas], {}, binary, keeper)
    for number, shard in enumerate(ports):
        for replica, port in enumerate(shard):
            home = folder / f"shard-{number}-{replica}"
            home.mkdir()
            more = _CLUSTER.format(name=NAME, shards="".join(shards), first=shards[0])
            if keeper is not None:
                more += _OF_REPLICA.format(
                    http_port=free_port(), zookeeper_port=keeper.port, shard=number, replica=replica
                )
            cluster.shards[number].append(clickhouse_server.start(binary, home, port, more, _DEFAULT_USER))
            cluster.folders[port] = home
    return cluster


def _start_zookeeper(folder: Path) -> ZooKeeper:
    home, port = folder / "zookeeper", free_port()
    home.mkdir()
    (home / "zoo.cfg").write_text(
        f"tickTime=2000\ndataDir={home}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("java", "-Xmx256m", "-cp", str(_JAR)),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                str(home / "zoo.cfg"),
            ],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + clickhouse_server.STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _serves(port):
            return ZooKeeper(port, process)
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"ZooKeeper did not start: {(home / 'log').read_text()}")


def _serves(port: int) -> bool:
    """It listens before it serves, and ClickHouse 18.16 crashes if it is not served at once."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"srvr")
            return connection.recv(100).startswith(b"Zookeeper version")
    except OSError:
        return False
