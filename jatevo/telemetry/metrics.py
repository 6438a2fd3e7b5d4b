"""The metrics that processes count themselves. Every label has few values, whatever is sent to the console.

What is read from the stores at each scrape is registered with FIGURES (exposition.py) instead.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Final

from django.conf import settings
from prometheus_client import Counter, Gauge, Histogram

from jatevo.telemetry import shared_files

if settings.METRICS_FOLDER:
    shared_files.use(settings.METRICS_FOLDER)

OTHER: Final = "other"


class QueriedStore(StrEnum):
    """A store that answers statements."""

    POSTGRESQL = "PostgreSQL"
    CLICKHOUSE = "ClickHouse"


# 0.2 and 0.6 s are the targets for p50 and p95 of pages
_REQUEST_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.5, 5.0, 10.0)
_QUERY_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_JOB_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_requests = Histogram(
    "api_http_request_duration_seconds",
    "How long requests took, by the pattern of their URL and the status of the answer.",
    ["route", "code"],
    buckets=_REQUEST_SECONDS,
)
_queries: Final = {
    QueriedStore.POSTGRESQL: Histogram(
        "db_query_duration_seconds",
        "How long PostgreSQL took for statements, by the kind of statement.",
        ["op"],
        buckets=_QUERY_SECONDS,
    ),
    QueriedStore.CLICKHOUSE: Histogram(
        "clickhouse_query_duration_seconds",
        "How long ClickHouse took for statements, by the kind of statement.",
        ["op"],
        buckets=_QUERY_SECONDS,
    ),
}
_jobs = Histogram(
    "worker_job_duration_seconds",
    "How long the worker's jobs took, by task and by whether they failed.",
    ["task", "outcome"],
    buckets=_JOB_SECONDS,
)
_events = Counter("frontend_events", "What people did on pages, without who they were.", ["event"])
_open_breakers = Gauge(
    "store_breaker_open",
    "The number of processes that do not ask the store, because it did not answer them a moment ago.",
    ["store"],
    multiprocess_mode="livesum",
)
_breaker_openings = Counter(
    "store_breaker_openings", "How often a process found that the store does not answer.", ["store"]
)
_messages = Counter(
    "bus_messages", "Messages of the event bus, by kind and by what became of them.", ["kind", "outcome"]
)
_waiting = Gauge(
    "bus_pending_messages",
    "Messages of the event bus that are not acknowledged yet, by kind.",
    ["kind"],
    multiprocess_mode="livemostrecent",
)
_replica_reads = Counter(
    "replica_reads", "Reads that may use PostgreSQL's replica, by the server that they used.", ["server"]
)


def answered(route: str, code: int, seconds: float) -> None:
    """Counts an answered request. `route` is a pattern, never what was sent."""
    _request(route, code).observe(seconds)


def queried(store: QueriedStore, op: str, seconds: float) -> None:
    """Counts a statement."""
    _query(store, op).observe(seconds)


def worked(task: str, seconds: float, *, failed: bool) -> None:
    """Counts a job of the worker."""
    _jobs.labels(task, "failed" if failed else "succeeded").observe(seconds)


def happened(event: str) -> None:
    """Counts an event of a page."""
    _events.labels(event).inc()


def breaker_is(store: str, *, open: bool) -> None:
    """Notes that this process's breaker for the store has opened or closed."""
    _open_breakers.labels(store).set(int(open))
    if open:
        _breaker_openings.labels(store).inc()


def settled(kind: str, outcome: str) -> None:
    """Counts a message of the event bus."""
    _message(kind, outcome).inc()


def pending(kind: str, count: float) -> None:
    """Notes how many messages of the event bus are not acknowledged yet. NaN while nobody knows."""
    _waiting.labels(kind).set(count)


def replica_read(from_replica: bool) -> None:
    """Counts a read that may use PostgreSQL's replica, by the server that it used."""
    _replica_reads.labels("replica" if from_replica else "primary").inc()


def expect(*, stores: tuple[str, ...] = (), events: tuple[str, ...] = ()) -> None:
    """Shows these with zero until something happens."""
    for store in stores:
        _open_breakers.labels(store)
        _breaker_openings.labels(store)
    for event in events:
        _events.labels(event)


# Looking a label up takes prometheus_client as long as counting.
@lru_cache(maxsize=4096)
def _request(route: str, code: int) -> Histogram:
    return _requests.labels(route, str(code))


@lru_cache(maxsize=64)
def _query(store: QueriedStore, op: str) -> Histogram:
    return _queries[store].labels(op)


@lru_cache(maxsize=64)
def _message(kind: str, outcome: str) -> Counter:
    return _messages.labels(kind, outcome)
