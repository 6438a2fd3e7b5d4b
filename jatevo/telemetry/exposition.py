"""The page for Prometheus: what processes have counted, and figures that are read from the stores when it asks."""

from typing import Final

from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from jatevo.telemetry import shared_files

# What is the same whichever process is asked. The app that knows a figure registers a collector.
FIGURES: Final = CollectorRegistry(auto_describe=False)


def page() -> bytes:
    """All metrics of all processes, in Prometheus' text format."""
    return _counted() + generate_latest(FIGURES)


def _counted() -> bytes:
    folder = settings.METRICS_FOLDER
    if not folder:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    with shared_files.locked(folder, to_change=False):
        return generate_latest(registry)
