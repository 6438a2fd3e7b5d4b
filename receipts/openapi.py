"""The OpenAPI description of posted receipts. The rules themselves are in jatevo/wire/schema.py."""

from typing import Any, Final

from jatevo.wire import schema

MOST_IN_A_BATCH: Final = 500


RECEIPT: Final[dict[str, Any]] = schema.json_schema()
# Each receipt of a batch is judged alone, so an invalid one does not make the batch invalid.
RECEIPT_OR_BATCH: Final[dict[str, Any]] = {
    "anyOf": [
        RECEIPT,
        {
            "title": "ReceiptBatch",
            "type": "object",
            "required": ["receipts"],
            "properties": {
                "receipts": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST_IN_A_BATCH,
                    "description": "receipts; each is judged alone",
                }
            },
        },
    ]
}
TAKEN: Final[dict[str, Any]] = {
    "title": "ReceiptTaken",
    "type": "object",
    "required": ["request_id", "node_id", "verified", "duplicate"],
    "properties": {
        "request_id": {"type": "string"},
        "node_id": {"type": "string"},
        "verified": {"type": "boolean"},
        "duplicate": {"type": "boolean"},
    },
}
ALREADY_OR_BATCH: Final[dict[str, Any]] = {
    "anyOf": [
        TAKEN,
        {
            "title": "ReceiptResults",
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
                            "status": {"type": "integer", "enum": [201, 200, 403, 409, 422]},
                            "error": {"type": "object"},
                        },
                    },
                }
            },
        },
    ]
}
