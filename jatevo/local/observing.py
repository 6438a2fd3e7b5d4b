"""Measures and traces the worker's jobs, and says how many wait."""

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import structlog
from django.db import DatabaseError, InterfaceError, connection
from procrastinate.job_context import JobContext
from procrastinate.worker import Worker
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jatevo.telemetry import metrics, tracing
from jatevo.telemetry.exposition import FIGURES

log = structlog.get_logger(__name__)


async def observed(work: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker) -> Any:
    """One of procrastinate's middleware around each job. The span has the task's name, but not its arguments."""
    task = context.job.task_name if context.job.task_name in worker.app.tasks else metrics.OTHER
    span = tracing.begin(f"job {task}", tracing.Kind.CONSUMER)
    began = time.perf_counter()
    failed = True
    try:
        with tracing.within(span):
            answer = await work()
        failed = False
        return answer
    finally:
        metrics.worked(task, time.perf_counter() - began, failed=failed)
        if span is not None:
            span.set({"jatevo.task": task, "jatevo.job": context.job.id or 0})
            if failed:
                span.fail("job failed")
            span.end()


_STATES: Final = ("todo", "doing", "failed")
_GAUGES: Final = {
    "worker_jobs": "The jobs of the worker: due (todo), running (doing), or failed in the last two weeks.",
    "worker_oldest_due_job_age_seconds": "How long the oldest job has been due without a worker taking it up.",
    "worker_heartbeat_age_seconds": "The time since a worker was last alive. No sample if there has been none.",
    "workers_alive": "The number of workers that were alive in the last 30 seconds.",
}


class WorkerGauges(Collector):
    """Collected at each scrape, from the table of jobs. While PostgreSQL is down, there are no samples."""

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(name, text) for name, text in _GAUGES.items()]

    def collect(self) -> Iterator[Metric]:
        try:
            counts, oldest, heartbeat, alive = _read()
        except (DatabaseError, InterfaceError) as error:
            log.warning("no figures of the worker for prometheus", error=str(error))
            return
        jobs = GaugeMetricFamily("worker_jobs", _GAUGES["worker_jobs"], labels=["status"])
        for status in _STATES:
            jobs.add_metric([status], counts.get(status, 0))
        yield jobs
        values = (oldest, heartbeat, alive)
        for name, value in zip(list(_GAUGES)[1:], values, strict=True):
            family = GaugeMetricFamily(name, _GAUGES[name])
            if value is not None:
                family.add_metric([], value)
            yield family


_COUNTS: Final = """
SELECT status::text, count(*) FROM procrastinate_jobs
WHERE status IN ('doing', 'failed') OR (status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()))
GROUP BY status
"""
_AGES: Final = """
SELECT
    (SELECT COALESCE(extract(epoch FROM now() - min(greatest(event.at, job.scheduled_at))), 0)
        FROM procrastinate_jobs AS job JOIN procrastinate_events AS event ON event.job_id = job.id
        WHERE event.type = 'deferred' AND status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())),
    (SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM procrastinate_workers),
    (SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '30 seconds')
"""


def _read() -> tuple[dict[str, int], float, float | None, int]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS)
        counts = dict(cursor.fetchall())
        cursor.execute(_AGES)
        ((oldest, heartbeat, alive),) = cursor.fetchall()
    return counts, float(oldest), None if heartbeat is None else float(heartbeat), alive


def register() -> None:
    """Once per process, when Django starts."""
    FIGURES.register(WorkerGauges())
