"""Access to ClickHouse: `get_store()`."""

import atexit
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from django.conf import settings

from jatevo.metrics.chdb_transport import ChdbTransport
from jatevo.metrics.cluster import Cluster
from jatevo.metrics.cluster_transport import ClusterTransport
from jatevo.metrics.native_transport import NativeTransport
from jatevo.metrics.transport import (
    Cell,
    CircuitOpen,
    MetricsError,
    MetricsUnavailable,
    Param,
    QueryRefused,
    Row,
    Transport,
)
from jatevo.telemetry import metrics
from jatevo.telemetry.metrics import QueriedStore
from jatevo.telemetry.statements import observing
from jatevo.web.breaker import CircuitBreaker

__all__ = [
    "MetricsError",
    "MetricsUnavailable",
    "QueryRefused",
    "Store",
    "close_stores",
    "get_store",
    "patient_store",
]

PATIENT_SECONDS = 3600.0
FAILURES_TO_OPEN = 3
OPEN_SECONDS = 5.0

T = TypeVar("T")


class Store:
    """A Transport behind a circuit breaker. While the circuit is open, calls raise CircuitOpen at once."""

    def __init__(self, transport: Transport, breaker: CircuitBreaker | None = None) -> None:
        self._transport = transport
        self._breaker = breaker or CircuitBreaker(
            "ClickHouse", threshold=FAILURES_TO_OPEN, open_seconds=OPEN_SECONDS
        )

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        return self._guarded(_operation_of(sql), sql, lambda: self._transport.execute(sql, params))

    @property
    def cluster(self) -> Cluster | None:
        return self._transport.cluster

    def execute_on_each(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        self._guarded(_operation_of(sql), sql, lambda: self._transport.execute_on_each(sql, params))

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        self._guarded("insert", f"INSERT INTO {table}", lambda: self._transport.insert(table, columns, rows))

    def create_database(self) -> None:
        self._guarded(metrics.OTHER, "CREATE DATABASE", self._transport.create_database)

    def ping(self) -> None:
        self._guarded("select", "SELECT 1", self._transport.ping)

    def close(self) -> None:
        self._transport.close()

    def _guarded(self, operation: str, sql: str, call: Callable[[], T]) -> T:
        if not self._breaker.allows():
            raise CircuitOpen("ClickHouse failed repeatedly; it is not queried for a few seconds")
        try:
            with observing(QueriedStore.CLICKHOUSE, operation, sql):
                answer = call()
        except MetricsUnavailable as error:
            self._breaker.failed(error)
            raise
        except QueryRefused:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return answer


_OPERATIONS: Final = {"SELECT": "select", "WITH": "select", "INSERT": "insert", "ALTER": "alter"}


def _operation_of(sql: str) -> str:
    first, *_ = sql.split(None, 1) or [""]
    return _OPERATIONS.get(first.upper(), metrics.OTHER)


_stores: dict[tuple[str, str, str, bool], Store] = {}
_stores_lock = threading.Lock()


def get_store() -> Store:
    """The process's store for the current settings: CLICKHOUSE_URL, or chDB in CHDB_PATH if that is empty.

    With CLICKHOUSE_CLUSTER, it is the cluster of that name that the server of CLICKHOUSE_URL knows.

    Never fails, because nothing is opened before the first call on the store.
    """
    key = (
        settings.CLICKHOUSE_URL,
        str(settings.CHDB_PATH),
        settings.CLICKHOUSE_CLUSTER,
        settings.CLICKHOUSE_REPLICATED,
    )
    # First without the lock: a child that was forked while another thread held it could never take it.
    store = _stores.get(key)
    if store is None:
        with _stores_lock:
            store = _stores.setdefault(key, Store(_transport()))
    return store


def patient_store() -> Store:
    """A store for work that nobody waits for, such as a backfill. One statement may take PATIENT_SECONDS.

    Close it after use. With chDB it is the same as get_store(), because a process has only one session. A
    statement other than MODIFY COLUMN and OPTIMIZE then needs its own `SETTINGS max_execution_time = …`.
    """
    if not settings.CLICKHOUSE_URL:
        return get_store()
    return Store(_transport(answer_seconds=PATIENT_SECONDS))


def close_stores() -> None:
    """Closes what get_store() opened, at the end of the process. The next get_store() opens it again."""
    for store in list(_stores.values()):
        store.close()


def _transport(answer_seconds: float | None = None) -> Transport:
    url, timeout_seconds = settings.CLICKHOUSE_URL, settings.CLICKHOUSE_TIMEOUT_SECONDS
    if not url:
        return ChdbTransport(str(settings.CHDB_PATH), timeout_seconds=timeout_seconds)
    if not settings.CLICKHOUSE_CLUSTER:
        return NativeTransport(url, timeout_seconds=timeout_seconds, answer_seconds=answer_seconds)
    return ClusterTransport(
        url,
        settings.CLICKHOUSE_CLUSTER,
        replicated=settings.CLICKHOUSE_REPLICATED,
        timeout_seconds=timeout_seconds,
        answer_seconds=answer_seconds,
    )


atexit.register(close_stores)
