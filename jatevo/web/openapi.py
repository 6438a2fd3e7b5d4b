"""What drf-spectacular needs to know to describe /v1 as the contract has it."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
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


class ConsoleSchema(AutoSchema):
    """Tags operations by the first word of their path."""

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/v1/").split("/")[0]]


def add_error_answers(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation can answer with the error shape."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = _ERROR_SCHEMA
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"].setdefault(
                "default",
                {
                    "description": "Any error",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            )
    return result
