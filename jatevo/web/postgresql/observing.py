"""Measures what PostgreSQL takes for each statement, and gives those of recorded requests a span.

A span has the text of the statement without its values.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from jatevo.telemetry import metrics, tracing

_OPERATIONS: Final = {word.upper(): word for word in ("select", "insert", "update", "delete", "with")}


def observed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    """One of Django's wrappers around the execution of statements."""
    with observing(operation_of(sql), sql):
        return execute(sql, params, many, context)


@contextmanager
def observing(operation: str, sql: Any) -> Iterator[None]:
    """Measures the statement in the block, also if it fails."""
    began = time.perf_counter()
    try:
        if tracing.current() is None:
            yield
        else:
            attributes = {"db.system.name": "postgresql", "db.query.text": str(sql)[: tracing.LONGEST_TEXT]}
            with tracing.span(f"PostgreSQL {operation}", attributes):
                yield
    finally:
        metrics.queried(operation, time.perf_counter() - began)


def operation_of(sql: Any) -> str:
    """The first word of a statement, or `other`."""
    if not isinstance(sql, str):  # composed by psycopg
        return metrics.OTHER
    word = sql[:64].lstrip("( \n\t").partition(" ")[0]
    return _OPERATIONS.get(word.strip().upper(), metrics.OTHER)
