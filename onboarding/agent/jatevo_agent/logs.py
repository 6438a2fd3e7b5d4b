"""Log lines on stderr: time, level, event, then key=value pairs that can be parsed.

    2025-09-30T09:12:44Z info    heartbeat accepted status=active

Prompts, outputs, tokens and keys are never logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime, timezone
from typing import TextIO

_logger = logging.getLogger("jatevo_agent")
_logger.addHandler(logging.NullHandler())  # commands that do not start logging print their results only
_BARE_WORD = re.compile(r"[A-Za-z0-9._:/@+,~%-]+")


class _LogLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{when} {record.levelname.lower():<7} {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_logging(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the agent's log lines to `stream` (stderr by default). Libraries do not log."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_LogLine())
    _logger.handlers[:] = [handler]
    _logger.setLevel(level)
    _logger.propagate = False


def info(event: str, **fields: object) -> None:
    """Log an event that interests the operator."""
    _logger.info("%s", _with_fields(event, fields))


def warning(event: str, **fields: object) -> None:
    """Log a problem that the agent handles itself."""
    _logger.warning("%s", _with_fields(event, fields))


def error(event: str, **fields: object) -> None:
    """Log a problem that the operator must solve."""
    _logger.error("%s", _with_fields(event, fields))


def crash(event: str) -> None:
    """Log a bug of the agent, with the traceback of the current exception."""
    _logger.exception("%s", event)


def _with_fields(event: str, fields: dict[str, object]) -> str:
    return " ".join([event, *(f"{name}={_value(value)}" for name, value in fields.items())])


def _value(value: object) -> str:
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    # Quoting also prevents a server's message from starting a new line.
    return text if _BARE_WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False)
