"""Structured logs: one JSON line each, with the request's id and without secrets."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET = re.compile(r"\b(jve_|whsec_|eyJ)[A-Za-z0-9+/=_.-]{8,}")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces enrolment tokens, node tokens and JWTs wherever they stand in a text."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _SECRET.sub(r"\1…", value)
    return event


def is_no_outage(record: logging.LogRecord) -> bool:
    """False for Django's line about an answer of 503: why it was given is said once, by whoever knows."""
    return getattr(record, "status_code", None) != 503


ENRICH: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
]
RENDER: list[Any] = [
    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    structlog.processors.format_exc_info,
    redact,
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
