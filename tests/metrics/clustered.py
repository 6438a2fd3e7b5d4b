"""Random facts, and what pages ask of them, to compare a cluster with one server."""

import random
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from jatevo.metrics import queries
from jatevo.metrics.cluster_transport import ClusterTransport
from jatevo.metrics.facts import Fact
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.queries import SearchConditions
from jatevo.metrics.search_rows import SEARCH_TABLES, SearchRow
from jatevo.metrics.store import Store
from jatevo.metrics.transport import MetricsUnavailable, Param, Row
from tests.metrics import clickhouse_cluster
from tests.metrics.clickhouse_cluster import ClickHouseCluster
from tests.metrics.clickhouse_server import ClickHouseServer
from tests.metrics.conftest import TIMEOUT_SECONDS
from tests.metrics.wrappers import MINUTE, NOON, NOON_SECONDS, latency, receipt, uptime

DAY = timedelta(days=1)
# All servers answer a statement that changes the schema. `patient_store` gives them more.
ANSWER_SECONDS = 60.0


class TransportOf(ClusterTransport):
    """Runs a statement again if its cluster had a server that no longer runs any (`restart_ended_queues`).

    That server may have run it after its start, or another before, so it must be one that can be run twice. ALTER, OPTIMIZE
    and TRUNCATE are, which are the ones that end a server's queue.
    """

    def __init__(self, shards: ClickHouseCluster, database: str, *, replicated: bool) -> None:
        super().__init__(
            shards.url(database),
            clickhouse_cluster.NAME,
            replicated=replicated,
            timeout_seconds=TIMEOUT_SECONDS,
            answer_seconds=ANSWER_SECONDS,
        )
        self._shards = shards

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        try:
            return super().execute(sql, params)
        except MetricsUnavailable:
            restarted = self._shards.restart_ended_queues()
            if not restarted:
                raise
            for server in restarted:
                _wait_until_writable(server)
            self.close()
            return super().execute(sql, params)


def _wait_until_writable(server: ClickHouseServer) -> None:
    transport = NativeTransport(server.url("system"), timeout_seconds=TIMEOUT_SECONDS)
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        while transport.execute("SELECT count() FROM replicas WHERE is_readonly") != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        transport.close()


def store_of(shards: ClickHouseCluster, database: str, *, replicated: bool) -> Store:
    return Store(TransportOf(shards, database, replicated=replicated))


def store_of_one(shards: ClickHouseCluster) -> Store:
    """A database of a single server, on the first of them."""
    return Store(NativeTransport(shards.url("single"), timeout_seconds=TIMEOUT_SECONDS))


def random_facts(draw: random.Random, name: str, *, nodes: int, count: int) -> list[Fact]:
    facts: list[Fact] = []
    for number in range(count):
        ts = NOON_SECONDS + draw.randrange(-3 * 86_400, 2 * 3600)
        node = {"node_id": f"node-{draw.randrange(nodes)}", "region": draw.choice(["eu", "us", "ap"])}
        facts += [
            receipt(
                f"{name}-{number}",
                ts_start=ts - 5,
                ts_end=ts,
                accepted_at=ts + draw.randrange(600),
                model_id=draw.choice(["llama3.1-8b", "Qwen2.5:latest", "qwen2.5"]),
                tokens_input=draw.randrange(5000),
                p95_ms=draw.choice([None, draw.uniform(1, 900)]),
                hedged=draw.random() < 0.2,
                cache_hit=draw.random() < 0.5,
                failed=draw.random() < 0.1,
                **node,
            ),
            latency(f"{name}-{number}", ts=ts, p50=draw.uniform(1, 500), p95=draw.uniform(500, 900), **node)
            if draw.random() < 0.7
            else latency(f"{name}-{number}", ts=ts, p50=None, p99=None, tps=None, **node),
            uptime(NOON - draw.randrange(3 * 1440) * MINUTE, node_id=node["node_id"], up=draw.random() < 0.9),
        ]
    return facts


def random_rows(draw: random.Random, *, nodes: int, count: int) -> list[SearchRow]:
    rows = []
    for id in range(count):
        row: dict[str, Any] = {
            "accepted_at": NOON_SECONDS - draw.randrange(40 * 86_400), "id": id, "micros": draw.randrange(10**6),
            "node_id": f"node-{draw.randrange(nodes)}", "request_id": f"r-{id}", "org_id": draw.choice(["", "org"]),
            "region": draw.choice(["eu", "us"]), "model": draw.choice(["a", "b"]), "tokens_input": draw.randrange(2**40),
            "tokens_output": draw.randrange(900), "p95_ms": float(draw.randrange(900)), "hedged": draw.randrange(2),
            "cache_hit": draw.randrange(2), "outcome": draw.choice(["ok", "error", "cancelled"]), "signed_with": "current",
        }  # fmt: skip
        rows.append(SearchRow(**row))
        for version in range(draw.randrange(3)):
            verdict: dict[str, Any] = {
                "payment": draw.choice(["payable", "held"]),
                "fee_usd": Decimal(draw.randrange(10**9)) / 10**12,
            }
            rows.append(SearchRow(**row | verdict, version=version + 1))
    return rows


def searches(store: Store) -> dict[str, object]:
    """What searches of receipts ask for."""
    found: dict[str, object] = {}
    for name, conditions in {
        "all": SearchConditions(),
        "of a node": SearchConditions(
            ("node_id IN {nodes}",), {"nodes": ["node-1", "node-5"]}, of_nodes=True
        ),
        "held": SearchConditions(("region = {region}",), {"region": "eu"}, "held"),
        "pending": SearchConditions((), {}, "pending"),
        "of a node in a state": SearchConditions(
            ("node_id = {node}",), {"node": "node-2"}, "payable", of_nodes=True
        ),
    }.items():
        first = NOON - 41 * DAY
        sums = queries.search_sums(store, conditions, first=first, cell_seconds=86_400, cells=42)
        found[name] = sorted(sums.items())
        found[f"first {name}"] = queries.first_accepted(store, conditions)
        for descending in (True, False):
            page: dict[str, Any] = {"descending": descending, "limit": 40, "origin": "one"}
            positions, more = queries.search_positions(store, conditions, beyond=None, **page)
            found[f"page {name} {descending}"] = positions, more
            found[f"next {name} {descending}"] = queries.search_positions(
                store, conditions, beyond=positions[-1], **page
            )
    for table in SEARCH_TABLES:
        rows = queries.search_rows_between(store, NOON - 41 * DAY, NOON, table=table)
        found[table] = sorted(rows, key=lambda row: row.id)
    return found


def others(store: Store, *window: datetime) -> list[object]:
    """What a node's page, the list and the Overview ask for besides."""
    return [
        queries.latest_latency(store, None, *window),
        *(queries.latency_series(store, node, *window) for node in ("node-1", "node-2")),
        *(queries.minutes_up_of_node(store, node, *window) for node in ("node-1", "node-2")),
        queries.requests_by_hour(store, *window),
        {name: each.requests for name, each in queries.traffic_by_model(store, *window).items()},
        queries.receipt_totals(store, *window, node_ids=["node-1", "node-3"], region="eu", hedged=False),
    ]
