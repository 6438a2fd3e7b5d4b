"""A completed request, and its receipt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from .wire.schema import VERSION, RequestOutcome, UsageSource


@dataclass(frozen=True)
class Completion:
    """What the runtime reports about a request that has ended.

    Times are unix seconds of the console's clock.
    """

    request_id: str
    model_id: str
    model_sha256: str
    """The digest of the model's weights, as 64 lower-case hex digits."""
    prompt_blake3: str
    """64 lower-case hex digits, see `prompt_digest`. The prompt itself never leaves the runtime."""
    tokens_input: int
    tokens_output: int
    started_at: float
    ended_at: float
    p95_ms: float
    checkpoints: tuple[int, ...] = ()
    hedged: bool = False
    cache_hit: bool = False
    outcome: RequestOutcome = RequestOutcome.OK
    finish: str | None = None
    """The runtime's finish reason, if it gave one."""
    usage_source: UsageSource | None = None
    output_blake3: str | None = None
    """64 lower-case hex digits over the UTF-8 bytes of the text that was delivered. None if not known."""


def prompt_digest(prompt: bytes) -> str:
    """The BLAKE3 digest of a prompt, as 64 lower-case hex digits."""
    return blake3(prompt).hexdigest()


def unsigned_receipt(completion: Completion, *, node_id: str, region: str) -> dict[str, Any]:
    """The receipt of `completion` without its signature. Times are truncated to whole seconds."""
    ts_start = int(completion.started_at)
    receipt: dict[str, Any] = {
        "version": VERSION,
        "request_id": completion.request_id,
        "node_id": node_id,
        "region": region,
        "ts_start": ts_start,
        # The clock may have been corrected meanwhile. A request must not end before it began.
        "ts_end": max(ts_start, int(completion.ended_at)),
        "model_id": completion.model_id,
        "model_hash": f"sha256:{completion.model_sha256}",
        "prompt_hash": f"blake3:{completion.prompt_blake3}",
        "tokens_input": completion.tokens_input,
        "tokens_output": completion.tokens_output,
        "p95_ms": completion.p95_ms,
        "s3_checkpoints": list(completion.checkpoints),
        "hedged": completion.hedged,
        "cache_hit": completion.cache_hit,
    }
    if completion.outcome is not RequestOutcome.OK:
        receipt["outcome"] = completion.outcome.value
    if completion.finish is not None:
        receipt["finish"] = completion.finish
    if completion.usage_source is not None:
        receipt["usage_source"] = completion.usage_source.value
    if completion.output_blake3 is not None:
        receipt["output_hash"] = f"blake3:{completion.output_blake3}"
    return receipt


def receipt_bytes(signed_receipt: dict[str, Any]) -> bytes:
    """The JSON bytes that are stored and sent. They are always the same for a receipt."""
    return json.dumps(signed_receipt, ensure_ascii=False, separators=(",", ":")).encode()
