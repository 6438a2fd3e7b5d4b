"""The OpenAPI description of posted receipts. The rules themselves are in jatevo/wire/schema.py."""

from typing import Any, Final

from jatevo.wire import schema
from jatevo.wire.names import MAX_NAME_CHARACTERS, NODE_ID_PATTERN, REGION_PATTERN

MOST_IN_A_BATCH: Final = 500


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _whole(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": most}


_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS}
_SECONDS = {"type": "integer", "minimum": 0, "description": "unix seconds"}
_REQUIRED: dict[str, dict[str, Any]] = {
    "version": {"type": "string", "enum": [schema.VERSION]},
    "request_id": _text("[A-Za-z0-9._:~-]{1,128}"),
    "node_id": _text(NODE_ID_PATTERN),
    "region": _text(REGION_PATTERN),
    "ts_start": _SECONDS,
    "ts_end": _SECONDS,
    "model_id": _NAME,
    "model_hash": _text("sha256:[0-9a-f]{64}"),
    "prompt_hash": _text(schema.BLAKE3_PATTERN),
    "tokens_input": _whole(schema.MAX_TOKENS),
    "tokens_output": _whole(schema.MAX_TOKENS),
    "p95_ms": {"type": "number", "minimum": 0, "maximum": schema.MAX_MILLISECONDS},
    "hedged": {"type": "boolean"},
    "cache_hit": {"type": "boolean"},
    "signature": _text("ed25519:[A-Za-z0-9+/]{85}[AQgw]=="),
}
RECEIPT: Final[dict[str, Any]] = {
    "title": "Receipt",
    "type": "object",
    "description": "Other members are kept, and covered by the signature.",
    "required": list(_REQUIRED),
    "properties": {
        **_REQUIRED,
        "s3_checkpoints": {
            "type": "array",
            "items": _whole(schema.MAX_TOKENS),
            "maxItems": schema.MAX_CHECKPOINTS,
        },
        "outcome": {"type": "string", "enum": [each.value for each in schema.RequestOutcome]},
        "finish": _NAME,
        "usage_source": {"type": "string", "enum": [each.value for each in schema.UsageSource]},
        "output_hash": _text(schema.BLAKE3_PATTERN),
    },
}
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
