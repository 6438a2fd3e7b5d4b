"""The id that a request's answer, log lines and audit rows have in common."""

import re
import secrets
from contextvars import ContextVar

import structlog

HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def adopt(offered: str | None) -> str:
    """Uses the caller's id if it is valid (1 to 64 of A-Z a-z 0-9 . _ : -), else a new one."""
    request_id = offered if offered and _SANE.fullmatch(offered) else secrets.token_hex(16)
    _current.set(request_id)
    return request_id


def use(request_id: str) -> None:
    """Uses an id that was adopted before, where requests are answered together."""
    _current.set(request_id)
    structlog.contextvars.bind_contextvars(request_id=request_id)


def current_request_id() -> str:
    """The id of the current request, or '' outside of a request."""
    return _current.get()
