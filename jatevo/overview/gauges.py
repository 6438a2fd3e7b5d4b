"""The network's figures for Prometheus (PRD §11), from the snapshot that the Overview shows."""

from collections.abc import Iterator

import structlog
from django.db import DatabaseError
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jatevo.overview import definitions
from jatevo.overview.kpis import snapshot
from jatevo.telemetry.exposition import FIGURES
from jatevo.web.definitions import Definition
from jatevo.web.figures import Figure, Knowledge

log = structlog.get_logger(__name__)


class SummaryGauges(Collector):
    """Collected at each scrape.

    Unknown and stale figures have no samples; while PostgreSQL is down, none has.
    """

    def describe(self) -> list[Metric]:
        """Only the names, so that registering needs no database."""
        return [_gauge(name, definition) for name, definition in _GAUGES.items()]

    def collect(self) -> Iterator[Metric]:
        try:
            network = snapshot(at=timezone.now())
        except DatabaseError as error:
            log.warning("no figures for prometheus", error=str(error))
            return
        figures = {
            "summary_active_nodes": network.active_nodes,
            "summary_requests_24h": network.requests_24h,
            "summary_models_cached": network.models_cached,
        }
        for name, figure in figures.items():
            yield _gauge(name, _GAUGES[name], figure)


_GAUGES = {
    "summary_active_nodes": definitions.ACTIVE_NODES,
    "summary_requests_24h": definitions.REQUESTS_24H,
    "summary_models_cached": definitions.MODELS_CACHED,
}


def _gauge(name: str, definition: Definition, figure: Figure | None = None) -> Metric:
    family = GaugeMetricFamily(name, definition.text)
    if figure is not None and figure.value is not None and figure.state is Knowledge.KNOWN:
        family.add_metric([], figure.value)
    return family


def register() -> None:
    """Once per process, when Django starts."""
    FIGURES.register(SummaryGauges())
