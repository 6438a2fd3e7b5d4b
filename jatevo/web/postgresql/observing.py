"""The observation of PostgreSQL's statements."""

from collections.abc import Callable
from typing import Any, Final

from jatevo.telemetry import metrics
from jatevo.telemetry.metrics import QueriedStore
from jatevo.telemetry.statements import observing

_OPERATIONS: Final = {word.upper(): word for word in ("select", "insert", "update", "delete", "with")}


def observed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    """One of Django's wrappers around the execution of statements."""
    with observing(QueriedStore.POSTGRESQL, operation_of(sql), sql):
        return execute(sql, params, many, context)


def operation_of(sql: Any) -> str:
    """The first word of a statement, or `other`."""
    if not isinstance(sql, str):  # composed by psycopg
        return metrics.OTHER
    word = sql[:64].lstrip("( \n\t").partition(" ")[0]
    return _OPERATIONS.get(word.strip().upper(), metrics.OTHER)
