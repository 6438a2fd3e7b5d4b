"""Extensions of drf-spectacular, so that the schema describes /v1 as the contract does."""

from typing import Any

import msgspec
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from jatevo.web.error_types import ErrorType
from jatevo.web.paging import MAX_LIMIT
from jatevo.web.query_values import MOMENT_HELP

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string", "enum": [each.value for each in ErrorType]},
                "message": {"type": "string"},
                "request_id": {"type": "string"},
                "server_time": {"type": "number"},
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "message"],
                        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
            },
        }
    },
}


# Security schemes of machines; those of people are in jatevo/accounts/openapi.py. Views refer to them by
# `auth=`.
NODE, VALIDATOR, GATEWAY, ENROLMENT = "node", "validator", "gateway", "enrolment"
_MOMENT = (
    r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$"
    r"|^(9[5-9][0-9]{7}|[1-3][0-9]{9}|40[0-9]{8})$"
)
_SIGNED = "{header}, and Standard Webhooks' three headers: the HMAC is under webhook-signature."
_MACHINES: dict[str, dict[str, str]] = {
    NODE: {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": _SIGNED.format(header="X-Node-Id"),
    },
    VALIDATOR: {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": _SIGNED.format(header="X-Validator-Id"),
    },
    GATEWAY: {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": _SIGNED.format(header="X-Gateway-Id"),
    },
    ENROLMENT: {"type": "http", "scheme": "bearer", "description": "An enrolment's token, jve_…"},
}


def either(*schemes: str, nobody: bool = False) -> Any:
    """For `extend_schema(auth=…)`: any one of the schemes is enough; with `nobody`, none is needed.

    Typed as Any, because the library annotates names but puts the value into the schema as it is.
    """
    return [*({scheme: []} for scheme in schemes), *([{}] if nobody else [])]


def text_parameter(name: str, longest: int, description: str = "") -> OpenApiParameter:
    schema = {"type": "string", "minLength": 1, "maxLength": longest}
    return OpenApiParameter(name, schema, description=description)


def moment_parameter(name: str, description: str) -> OpenApiParameter:
    """A parameter that query_values.moment reads."""
    schema = {"type": "string", "pattern": _MOMENT, "example": "2026-11-28"}
    return OpenApiParameter(name, schema, description=f"{description} {MOMENT_HELP}; a date is a day in UTC")


CURSOR = OpenApiParameter(
    "cursor",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    description="`next` of the page before",
)
LIMIT = OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT})


def json_body(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The request body that this struct takes, for `extend_schema(request=…)`: one schema, without
    references.
    """
    schema = msgspec.json.schema(shape)
    return {"application/json": _plain(schema, schema.get("$defs", {}))}


def _plain(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    found = {name: _plain(inner, definitions) for name, inner in schema.items() if name != "$defs"}
    if isinstance(found.get("title"), str):
        found["title"] = found["title"].lstrip("_")
    if isinstance(found.get("pattern"), str):
        found["pattern"] = found["pattern"].replace(r"\Z", "$")  # in the syntax of JavaScript
    return found


class ConsoleSchema(AutoSchema):
    """Tags operations by the first word of their path."""

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/v1/").split("/")[0]]


def add_error_answers(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Adds error answers to every operation, and the security schemes of machines."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = _ERROR_SCHEMA
    components.setdefault("securitySchemes", {}).update(_MACHINES)
    for operations in result["paths"].values():
        for operation in operations.values():
            _require_body(operation)
            operation["responses"].setdefault(
                "default",
                {
                    "description": "Any error",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            )
    return result


def _require_body(operation: dict[str, Any]) -> None:
    """Marks a request body that is described inline as required. Serializers do so themselves."""
    body = operation.get("requestBody")
    if body and not any("$ref" in content.get("schema", {}) for content in body["content"].values()):
        body["required"] = True
