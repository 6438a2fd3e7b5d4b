"""The error shape of /v1, and the conversion of exceptions to it.

{"error": {"type": "...", "message": "...", "request_id": "...", "details": [{"field", "message"}]}}
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from jatevo.web.json import dump
from jatevo.web.postgresql.connections import breaker
from jatevo.web.request_id import current_request_id

RETRY_AFTER_SECONDS: Final = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FieldProblem:
    """A problem with one field.

    Nested fields have dotted names, with numbers for list items: `metrics.uptime`.
    """

    field: str
    message: str


class ApiError(Exception):
    """An error answer, which any code below /v1 may raise. `extra` is merged into the error object."""

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        details: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.details = tuple(details)
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.type, "message": self.message, **self.extra}
        if self.details:
            error["details"] = [asdict(problem) for problem in self.details]
        if request_id := current_request_id():
            error["request_id"] = request_id
        return {"error": error}


def invalid_request(message: str, details: Sequence[FieldProblem] = ()) -> ApiError:
    return ApiError(422, "invalid_request", message, details=details)


def not_found() -> ApiError:
    return ApiError(404, "not_found", "Not found, or you do not have access to it.")


def unavailable(store: str) -> ApiError:
    return ApiError(
        503,
        "unavailable",
        f"{store} did not respond in time. Nothing was acknowledged. Try again.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def to_response(error: ApiError) -> HttpResponse:
    """The error as a Django response."""
    return HttpResponse(
        dump(error.body()), status=error.status, content_type="application/json", headers=error.headers
    )


def from_exception(error: BaseException) -> ApiError:
    """The ApiError for any exception. An unexpected one is logged and becomes a 500 without details."""
    match error:
        case ApiError():
            return error
        case drf.ValidationError():
            return invalid_request("Some fields are invalid.", list(_problems(error.detail)))
        case drf.ParseError():
            return ApiError(400, "invalid_json", "The body is not valid JSON.")
        case drf.NotAuthenticated():
            return unauthenticated()
        case drf.AuthenticationFailed():
            return ApiError(401, "invalid_token", str(error.detail), headers=_BEARER)
        case drf.PermissionDenied() | PermissionDenied():
            return ApiError(403, "forbidden", "You do not have permission to do this.")
        case drf.NotFound() | Http404():
            return not_found()
        case drf.MethodNotAllowed():
            return ApiError(405, "method_not_allowed", "This endpoint does not accept that method.")
        case drf.UnsupportedMediaType():
            return ApiError(415, "unsupported_media_type", "Send application/json.")
        case drf.APIException():
            return ApiError(error.status_code, "invalid_request", str(error.detail))
        case RequestDataTooBig():
            return ApiError(413, "too_large", "The body is too large.")
        case SuspiciousOperation():
            return ApiError(400, "invalid_request", "The request is malformed.")
        case OperationalError() | InterfaceError():
            log_outage(error)
            return unavailable("The database")
    log.error("unhandled exception", exc_info=error)
    return ApiError(500, "internal_error", "Something went wrong on our side. The error has been logged.")


def log_outage(error: BaseException) -> None:
    """Logs why a request was refused, unless the breaker is open, since that was logged when it opened."""
    if breaker.closed:
        log.warning("database unavailable", error=str(error))


def unauthenticated() -> ApiError:
    return ApiError(
        401, "unauthenticated", "Authentication is required. Sign in or send credentials.", headers=_BEARER
    )


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's hook (REST_FRAMEWORK["EXCEPTION_HANDLER"])."""
    refused = from_exception(error)
    return Response(refused.body(), status=refused.status, headers=refused.headers)


_BEARER = {"WWW-Authenticate": "Bearer"}


def _problems(detail: Any, path: str = "") -> Sequence[FieldProblem]:
    if isinstance(detail, Mapping):
        found: list[FieldProblem] = []
        for name, inner in detail.items():
            label = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            found.extend(_problems(inner, label))
        return found
    if isinstance(detail, Sequence) and not isinstance(detail, str):
        if any(isinstance(inner, Mapping) for inner in detail):
            return [
                problem
                for number, inner in enumerate(detail)
                for problem in _problems(inner, f"{path}.{number}" if path else str(number))
            ]
        return [FieldProblem(path or "body", str(inner)) for inner in detail]
    return [FieldProblem(path or "body", str(detail))]
