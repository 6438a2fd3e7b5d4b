"""Why the gateway does not serve a request, as the client is told. The shape is OpenAI's and the console's."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any


class Refused(Exception):
    """The request is not served. `reason` is for programs and `message` for people."""

    def __init__(
        self,
        status: HTTPStatus,
        reason: str,
        message: str,
        *,
        retry_after_seconds: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.close = close


def error_document(reason: str, message: str) -> dict[str, Any]:
    """The JSON body of an error."""
    return {"error": {"type": reason, "code": reason, "message": message, "param": None}}


def error_body(reason: str, message: str) -> bytes:
    """The bytes of an error's body."""
    return json.dumps(error_document(reason, message)).encode()
