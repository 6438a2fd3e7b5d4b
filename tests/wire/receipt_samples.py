"""The receipt of PRD §7 and the key that signs it, for the tests of the wire format."""

from typing import Any

from nacl.signing import SigningKey

TS_END = 1736538518
NOW = TS_END + 2.5
SIGNING_KEY = SigningKey(bytes(range(32)))
PUBLIC_KEY = bytes(SIGNING_KEY.verify_key)


def unsigned_receipt(**changes: Any) -> dict[str, Any]:
    return {
        "version": "1.0",
        "request_id": "r_01J8KQ4Z9VX2N5M7",
        "node_id": "macbook-001",
        "region": "ap-southeast",
        "ts_start": 1736538502,
        "ts_end": TS_END,
        "model_id": "llama3.1-8b",
        "model_hash": "sha256:" + "a1" * 32,
        "prompt_hash": "blake3:" + "0f" * 32,
        "tokens_input": 128,
        "tokens_output": 92,
        "p95_ms": 310,
        "s3_checkpoints": [100],
        "hedged": False,
        "cache_hit": True,
        **changes,
    }
