"""Measures what stores take for each statement, and gives those of recorded requests a span.

A span has the text of the statement without its values.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from jatevo.telemetry import metrics, tracing
from jatevo.telemetry.metrics import QueriedStore


@contextmanager
def observing(store: QueriedStore, operation: str, sql: object) -> Iterator[None]:
    """Measures the statement in the block, also if it fails."""
    began = time.perf_counter()
    try:
        if tracing.current() is None:
            yield
        else:
            text = str(sql)[: tracing.LONGEST_TEXT]
            attributes = {"db.system.name": store.lower(), "db.query.text": text}
            with tracing.span(f"{store} {operation}", attributes):
                yield
    finally:
        metrics.queried(store, operation, time.perf_counter() - began)
