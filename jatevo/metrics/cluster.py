"""The tables on a cluster of ClickHouse servers (setting CLICKHOUSE_CLUSTER).

On a cluster, a table `x` of the schema is two: `x_local` has the rows of a shard, and `x` is Distributed over all shards.
Queries and inserts name `x`, as on one server. What changes tables or partitions names `x_local` on every server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jatevo.metrics.quoting import quote
from jatevo.metrics.transport import MetricsError, Transport

# All rows that replace each other, or that a view adds up, must lie on one shard. They share the node or the batch.
_BY_NODE: Final = "cityHash64(node_id)"
_BY_BATCH: Final = "cityHash64(toString(batch))"
SHARDED_BY: Final = {
    "receipt_facts": _BY_NODE,
    "receipt_search": _BY_NODE,
    "receipt_search_of_node": _BY_NODE,
    "requests_minute": _BY_BATCH,
    "requests_hour": _BY_BATCH,
    "node_latency_minute": _BY_NODE,
    "node_latency_hour": _BY_NODE,
    "node_uptime_minute": _BY_NODE,
    "node_uptime_hour": _BY_NODE,
    "node_first_minute": _BY_NODE,
    # of which every shard gets its own (notes.py)
    "receipt_search_origin": "toUInt32(noted_at)",
    "schema_migrations": "toUInt32(applied_at)",
}

# What queries need to be right, or to fail in time.
SETTINGS: Final[Mapping[str, int | str]] = {
    "insert_distributed_sync": 1,  # an insert is answered when the shards have the rows
    "skip_unavailable_shards": 0,  # sums without a shard would be too small
    # inserts and queries use the same replica while it lives, and none that is known to be behind
    "load_balancing": "in_order",
    "max_replica_delay_for_distributed_queries": 5,
    "fallback_to_stale_replicas_for_distributed_queries": 0,
    "connect_timeout_with_failover_ms": 400,
}

REBUILD: Final = (
    'Rebuild it, as docs/runbooks/clickhouse-down.md says under "Rebuild ClickHouse from PostgreSQL".'
)
_IS_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CREATE_TABLE = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<table>\w+)\s*(?P<columns>\(.*\))\s*"
    r"ENGINE = (?P<engine>\w*MergeTree)(?:\((?P<arguments>[^)]*)\))?\s+(?P<rest>.*)",
    re.DOTALL,
)
_CREATE_VIEW = re.compile(
    r"CREATE MATERIALIZED VIEW IF NOT EXISTS (?P<view>\w+) TO (?P<table>\w+) AS\s(?P<query>.*)", re.DOTALL
)
_ALTER_TABLE = re.compile(r"ALTER TABLE (?P<table>\w+)\s(?P<rest>.*)", re.DOTALL)
_FROM = re.compile(r"\bFROM (\w+)")


class WrongLayout(MetricsError):
    """The tables that are there were made for another number of servers, or for one."""


def is_cluster_name(name: str) -> bool:
    """Whether a name can stand unquoted in a statement."""
    return bool(_IS_SIMPLE.fullmatch(name))


@dataclass(frozen=True)
class Statement:
    """A statement of the schema as it is run. `on_each`: by `Transport.execute_on_each`."""

    sql: str
    params: dict[str, str]
    on_each: bool = False


@dataclass(frozen=True)
class Cluster:
    """A cluster of the servers' `remote_servers`. `database` is where the tables are on each of them.

    `replicated`: the shards may have several servers each, with a ZooKeeper or Keeper. If not, each has one.
    """

    name: str
    database: str
    replicated: bool = True

    def stored(self, table: str) -> str:
        """The table that has a shard's rows."""
        return f"{table}_local"

    def target(self, table: str) -> str:
        """That table, in a statement for every server."""
        return f"{self.database}.{self.stored(table)}{self.on_cluster}"

    @property
    def on_cluster(self) -> str:
        """Servers without ZooKeeper have no queue for such statements. They are sent to each."""
        return f" ON CLUSTER {self.name}" if self.replicated else ""

    def of_all_shards(self, system_table: str) -> str:
        """A system table of one server of each shard."""
        return f"cluster('{self.name}', system, {system_table})"

    def render(self, statement: str) -> list[Statement]:
        """A statement of the schema's files for this cluster. Raises ValueError for one that is not known."""
        if (found := _CREATE_TABLE.fullmatch(statement)) is not None:
            return [self._create_local(found), self._create_distributed(found["table"])]
        if (found := _CREATE_VIEW.fullmatch(statement)) is not None:
            query = _FROM.sub(lambda each: f"FROM {self.database}.{self.stored(each[1])}", found["query"])
            target = f"{self.database}.{self.stored(found['table'])}"
            view = f"{self.database}.{found['view']}{self.on_cluster}"
            return [
                Statement(f"CREATE MATERIALIZED VIEW IF NOT EXISTS {view} TO {target} AS\n{query}", {}, True)
            ]
        if (found := _ALTER_TABLE.fullmatch(statement)) is not None:
            table = found["table"]
            return [
                Statement(f"ALTER TABLE {self.target(table)} {found['rest']}", {}, True),
                Statement(f"DROP TABLE IF EXISTS {self.database}.{table}{self.on_cluster}", {}, True),
                self._create_distributed(table),
            ]
        if statement.startswith(("INSERT", "SELECT")):
            return [Statement(statement, {})]
        raise ValueError(f"a cluster has no rule for this statement: {statement[:200]}")

    def _create_local(self, found: re.Match[str]) -> Statement:
        table, rest, arguments = found["table"], found["rest"], found["arguments"]
        engine, params = found["engine"], {}
        if self.replicated:
            path = f"/clickhouse/tables/{{shard}}/{self.database}/{table}"
            params = {"path": path, "replica": "{replica}"}
            engine, arguments = (
                f"Replicated{engine}",
                "{path}, {replica}" + (f", {arguments}" if arguments else ""),
            )
            # A batch that comes again must reach the views too, because it may have been interrupted before them.
            rest += f"{',' if 'SETTINGS' in rest else ' SETTINGS'} replicated_deduplication_window = 0"
        engine += f"({arguments})" if arguments else ""
        create = (
            f"CREATE TABLE IF NOT EXISTS {self.target(table)}\n{found['columns']}\nENGINE = {engine}\n{rest}"
        )
        return Statement(create, params, True)

    def _create_distributed(self, table: str) -> Statement:
        local = self.stored(table)
        engine = f"Distributed({self.name}, {self.database}, {local}, {SHARDED_BY[table]})"
        create = f"CREATE TABLE IF NOT EXISTS {self.database}.{table}{self.on_cluster}"
        return Statement(f"{create} AS {self.database}.{local} ENGINE = {engine}", {}, True)


def rendered(statement: str, cluster: Cluster | None) -> list[Statement]:
    """A statement of the schema's files as it is run: unchanged without a cluster."""
    return [Statement(statement, {})] if cluster is None else cluster.render(statement)


def stored(store: Transport, table: str) -> str:
    """The name of the table that has the rows."""
    return table if store.cluster is None else store.cluster.stored(table)


def target(store: Transport, table: str) -> str:
    """The same in a statement for `execute_on_each`."""
    return table if store.cluster is None else store.cluster.target(table)


def system_rows(store: Transport, system_table: str) -> str:
    """A system table's rows about the console's database, on one server of each shard, up to further conditions."""
    cluster = store.cluster
    if cluster is None:
        return f"system.{system_table} WHERE database = currentDatabase()"
    return f"{cluster.of_all_shards(system_table)} WHERE database = {quote(cluster.database)}"


def refuse_other_layout(store: Transport) -> None:
    """Raises WrongLayout if the database has tables of one server and this is a cluster, or the other way round.

    Also for plain tables on shards of several servers, each of which would have a part of the rows.
    """
    if store.cluster is not None and not store.cluster.replicated:
        ((most,),) = store.execute(
            "SELECT max(replica_num) FROM system.clusters WHERE cluster = {name}",
            {"name": store.cluster.name},
        )
        if most > 1:
            raise WrongLayout(
                f"shards of the cluster {store.cluster.name} have several servers, which need replicated tables. Do not"
                " set CLICKHOUSE_REPLICATED to false."
            )
    rows = system_rows(store, "tables")
    engines = {
        engine
        for (engine,) in store.execute(f"SELECT engine FROM {rows} AND name = 'schema_migrations'")  # noqa: S608
    }
    if store.cluster is None and "Distributed" in engines:
        raise WrongLayout("its tables are those of a cluster. Set CLICKHOUSE_CLUSTER to the cluster's name.")
    if store.cluster is not None and engines - {"Distributed"}:
        raise WrongLayout(
            f"CLICKHOUSE_CLUSTER is set, but the database {store.cluster.database} has the tables of a single server, and"
            f" a cluster's cannot be made of them. {REBUILD} Or unset CLICKHOUSE_CLUSTER to go on with the one server."
        )


def shard_weights(store: Transport) -> list[int]:
    """The weight of each shard, in their order. One server is one shard."""
    if store.cluster is None:
        return [1]
    rows = store.execute(
        "SELECT shard_num, any(shard_weight) FROM system.clusters WHERE cluster = {name}"
        " GROUP BY shard_num ORDER BY shard_num",
        {"name": store.cluster.name},
    )
    if not rows:
        raise WrongLayout(f"ClickHouse knows no cluster {store.cluster.name!r}: see its remote_servers")
    return [int(weight) for _, weight in rows]
