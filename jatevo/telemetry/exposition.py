"""The page for Prometheus: what processes have counted, and figures that are read from the stores when it asks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from jatevo.telemetry import shared_files

# What is the same whichever process is asked. The app that knows a figure registers a collector.
FIGURES: Final = CollectorRegistry(auto_describe=False)


def page() -> bytes:
    """All metrics of all processes, in Prometheus' text format."""
    folder = settings.METRICS_FOLDER
    return (page_of(folder) if folder else generate_latest(REGISTRY)) + generate_latest(FIGURES)


def page_of(folder: Path) -> bytes:
    """What processes have counted in the folder, together."""
    registry = CollectorRegistry()
    registry.register(_Shared(folder))
    with shared_files.locked(folder, to_change=False):
        return generate_latest(registry)


class _Shared(Collector):
    """What the files of a folder have, together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        files = [str(path) for path in shared_files.shown(self._folder)]
        try:
            return _merged(files)
        except shared_files.UNREADABLE:
            return _merged([path for path in files if shared_files.is_readable(path)])


def _merged(files: list[str]) -> Iterable[Metric]:
    return list(MultiProcessCollector.merge(files, accumulate=True))
