"""The outbox's figures for Prometheus."""

from collections.abc import Iterator
from typing import Final

import structlog
from django.db import DatabaseError, InterfaceError, connection
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jatevo.telemetry.exposition import FIGURES

log = structlog.get_logger(__name__)

MOST_COUNTED: Final = 100_000  # counting more would take longer than a scrape should

_AGE: Final = ("outbox_age_seconds", "How long the oldest fact has been waiting for ClickHouse.")
_ROWS: Final = (
    "outbox_rows",
    f"Facts that wait for ClickHouse, or that it refused (poisoned). Counted up to {MOST_COUNTED}.",
)


class OutboxGauges(Collector):
    """Collected at each scrape. While PostgreSQL is down, there are no samples."""

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(*_AGE), GaugeMetricFamily(*_ROWS)]

    def collect(self) -> Iterator[Metric]:
        try:
            age, waiting, poisoned = _read()
        except (DatabaseError, InterfaceError) as error:
            log.warning("no figures of the outbox for prometheus", error=str(error))
            return
        yield GaugeMetricFamily(*_AGE, value=age)
        rows = GaugeMetricFamily(*_ROWS, labels=["state"])
        rows.add_metric(["waiting"], waiting)
        rows.add_metric(["poisoned"], poisoned)
        yield rows


# The conditions are those of partial indexes. The oldest is found by id, as in completeness.py.
_FIGURES: Final = """
SELECT COALESCE(extract(epoch FROM now() - LEAST(
        (SELECT created_at FROM metrics_outbox WHERE batch IS NULL AND poisoned IS NULL ORDER BY id LIMIT 1),
        (SELECT min(created_at) FROM metrics_outbox WHERE batch IS NOT NULL AND poisoned IS NULL))), 0),
    (SELECT count(*) FROM (SELECT FROM metrics_outbox WHERE batch IS NULL AND poisoned IS NULL LIMIT %(most)s) AS few)
    + (SELECT count(*) FROM metrics_outbox WHERE batch IS NOT NULL AND poisoned IS NULL),
    (SELECT count(*) FROM (SELECT FROM metrics_outbox WHERE poisoned IS NOT NULL LIMIT %(most)s) AS few)
"""


def _read() -> tuple[float, int, int]:
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, {"most": MOST_COUNTED})
        ((age, waiting, poisoned),) = cursor.fetchall()
    return float(age), waiting, poisoned


def register() -> None:
    """Once per process, when Django starts."""
    FIGURES.register(OutboxGauges())
