"""Structured logs: one JSON line each, with the ids of the request and its trace, and without secrets."""

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog

from jatevo.telemetry import tracing
from jatevo.web.bounds import bounded
from jatevo.web.redaction import HIDDEN, hide, is_secret_name

LONGEST_VALUE = 1000
LONGEST_TRACEBACK = 12_000


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hides secrets in every value, however deep."""
    for name, value in event.items():
        event[name] = HIDDEN if is_secret_name(name, value) else hide(value)
    return event


def add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds the id of the trace, if the request or job is recorded."""
    if tracing.is_on() and (trace_id := tracing.trace_id_of(str(event.get("request_id", "")))):
        event["trace_id"] = trace_id
    return event


def is_no_outage(record: logging.LogRecord) -> bool:
    """Drops Django's line about a 503 answer, because its cause is logged where it is known."""
    return getattr(record, "status_code", None) != 503


def plain(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drops what uvicorn adds for terminals: its message again, in colours."""
    event.pop("color_message", None)
    return event


def one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drops the traceback of requests that Django finds suspicious, because anyone can send many of them."""
    if str(event.get("logger", "")).startswith("django.security"):
        event.pop("exc_info", None)
        event["level"] = "warning"
    return event


def bound(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Limits the size of each value, because any of them may come from untrusted input."""
    for name, value in event.items():
        if not isinstance(value, (str, dict, list, tuple, int, float, type(None))):
            value = repr(value)  # as the renderer does
        event[name] = bounded(value, LONGEST_TRACEBACK if name == "exception" else LONGEST_VALUE)
    return event


ENRICH: list[Any] = [
    structlog.contextvars.merge_contextvars,
    add_trace,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
]
RENDER: list[Any] = [
    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    plain,
    one_line,
    structlog.processors.format_exc_info,
    redact,
    bound,
    structlog.processors.JSONRenderer(),
]


def configure() -> None:
    """Sends structlog's loggers through the standard library's handlers (settings.LOGGING)."""
    structlog.configure(
        processors=[*ENRICH[:-1], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
