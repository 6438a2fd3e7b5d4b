"""A cluster of ClickHouse servers, through one of them."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from clickhouse_driver.util.helpers import parse_url

from jatevo.metrics.cluster import SETTINGS, Cluster
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.transport import MetricsError, Param


class ClusterTransport(NativeTransport):
    """A Transport on the server of `url`, which knows the cluster `name` and asks the others.

    A shard that does not answer is ClickHouse that does not answer: there are no sums without it.
    """

    cluster: Cluster

    def __init__(
        self,
        url: str,
        name: str,
        *,
        replicated: bool = True,
        timeout_seconds: float,
        answer_seconds: float | None = None,
    ) -> None:
        seconds = max(1, int(answer_seconds or timeout_seconds))
        # The server itself gives a shard up that hangs. It would otherwise wait for it for minutes.
        waits = {
            "receive_timeout": seconds,
            "send_timeout": seconds,
            "distributed_ddl_task_timeout": seconds,
        }
        super().__init__(
            url,
            timeout_seconds=timeout_seconds,
            answer_seconds=answer_seconds,
            defaults={**SETTINGS, **waits},
        )
        self.cluster = Cluster(name, parse_url(url)[1].get("database", "default"), replicated)
        self._url = url
        self._timeout_seconds, self._answer_seconds = timeout_seconds, answer_seconds

    def execute_on_each(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        if self.cluster.replicated:
            self.execute(sql, params)
        else:
            self._for_each(lambda server: server.execute(sql, params))

    def create_database(self) -> None:
        super().create_database()
        if self.cluster.replicated:
            self.execute(f"CREATE DATABASE IF NOT EXISTS {self.cluster.database}{self.cluster.on_cluster}")
        else:
            self._for_each(NativeTransport.create_database)

    def ping(self) -> None:
        """Returns if every shard answers."""
        self.execute(f"SELECT count() FROM {self.cluster.of_all_shards('one')}")  # noqa: S608 - no value

    def _for_each(self, run: Callable[[NativeTransport], object]) -> None:
        """Runs something on each server. Goes on after an error, and raises the first."""
        hosts = self.execute(
            "SELECT host_name, port FROM system.clusters WHERE cluster = {name} ORDER BY shard_num, replica_num",
            {"name": self.cluster.name},
        )
        errors: list[MetricsError] = []
        for host, port in hosts:
            server = NativeTransport(
                _with_host(self._url, f"{host}:{port}"),
                timeout_seconds=self._timeout_seconds,
                answer_seconds=self._answer_seconds,
            )
            try:
                run(server)
            except MetricsError as error:
                errors.append(error)
            finally:
                server.close()
        if errors:
            raise errors[0]


def _with_host(url: str, host: str) -> str:
    """The same URL, user and password included, with another server."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{host}").geturl()
