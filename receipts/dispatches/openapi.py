"""The OpenAPI description of POST /v1/dispatches. The shapes come from the structs that parse it."""

from typing import Any, Final

from jatevo.web.openapi import json_body
from receipts.dispatches.payloads import DISPATCH, WINNER

MOST_IN_A_BATCH: Final = 1000

_ITEMS: Final = [json_body(shape)["application/json"] for shape in (DISPATCH, WINNER)]
# Each item of a batch is judged alone, so an invalid one does not make the batch invalid.
DISPATCHES: Final[dict[str, Any]] = {
    "anyOf": [
        {
            "title": "Dispatches",
            "type": "object",
            "required": ["dispatches"],
            "properties": {
                "dispatches": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST_IN_A_BATCH,
                    "description": "dispatches and winners; each is judged alone",
                    "items": {"anyOf": [*_ITEMS, {"description": "any other value gets 422 in its result"}]},
                }
            },
        },
        *_ITEMS,
    ]
}
RESULTS: Final[dict[str, Any]] = {
    "title": "DispatchResults",
    "type": "object",
    "required": ["results"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["request_id", "status"],
                "properties": {
                    "request_id": {"type": ["string", "null"]},
                    "status": {"type": "integer", "enum": [201, 200, 409, 422]},
                    "error": {"type": "object"},
                },
            },
        }
    },
}
