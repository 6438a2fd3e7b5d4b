"""The number of parked messages, for Prometheus."""

from collections.abc import Iterator
from typing import Final

import structlog
from django.db import DatabaseError, InterfaceError
from django.db.models import Count
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jatevo.bus.models import ParkedMessage, ParkedState
from jatevo.telemetry.exposition import FIGURES

log = structlog.get_logger(__name__)

_PARKED: Final = ("bus_parked_messages", "Messages of the event bus that were refused and wait for a person.")


class ParkedGauge(Collector):
    """Collected at each scrape. While PostgreSQL is down, there are no samples."""

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(*_PARKED)]

    def collect(self) -> Iterator[Metric]:
        parked = ParkedMessage.objects.filter(state=ParkedState.PARKED).order_by()
        try:
            counts = list(parked.values_list("kind", "error_type").annotate(Count("pk")))
        except (DatabaseError, InterfaceError) as error:
            log.warning("no figures of parked messages for prometheus", error=str(error))
            return
        family = GaugeMetricFamily(*_PARKED, labels=["kind", "type"])
        for kind, error_type, count in counts:
            family.add_metric([kind, error_type], count)
        yield family


def register() -> None:
    """Once per process, when Django starts."""
    FIGURES.register(ParkedGauge())
