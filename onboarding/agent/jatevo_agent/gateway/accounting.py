"""The receipt of a request: how it ended, its tokens, and where they come from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Optional

from ..completion import Completion
from ..runtimes.found import FoundModel
from ..wire.schema import MAX_MILLISECONDS, RequestOutcome, UsageSource
from .answers import finish_name
from .asked import Asked, Kind
from .delivered import Delivered

BYTES_PER_TOKEN = 4  # of English text, roughly. Only where nothing and nobody counts

TokenCount = Callable[[str], Awaitable[Optional[int]]]


@dataclass(frozen=True)
class Tokens:
    """The tokens of a request, and who counted them."""

    tokens_input: int
    tokens_output: int
    source: UsageSource


async def tokens_of(asked: Asked, delivered: Delivered, count: TokenCount) -> Tokens:
    """What the runtime stated, or what the agent counts where it stated nothing.

    Output is counted in the chunks that were delivered, each at least one token, so never more than was
    delivered. Other text is counted by the runtime's tokeniser, or else estimated from its length.
    """
    usage = delivered.usage
    tokens_input = usage.tokens_input if usage else None
    tokens_output = usage.tokens_output if usage else None
    if asked.kind is Kind.EMBEDDING:
        tokens_output = 0
    source = UsageSource.RUNTIME
    if tokens_input is None:
        source = UsageSource.COUNTED
        given = asked.prompt_tokens
        tokens_input = given if given is not None else await _count(asked.prompt_text, count)
    if tokens_output is None:
        source = UsageSource.COUNTED
        text = delivered.text
        if asked.stream or not text:
            tokens_output = delivered.pieces
        else:
            tokens_output = await _count(text, count)
    return Tokens(tokens_input, tokens_output, source)


def completion_of(
    *,
    request_id: str,
    asked: Asked,
    model: FoundModel,
    delivered: Delivered,
    tokens: Tokens,
    outcome: RequestOutcome,
    hedged: bool,
    started_at: float,
    ended_at: float,
    waits_ms: list[float],
) -> Completion:
    """What the receipt of an ended request says. `waits_ms` are the waits for each piece of the answer."""
    cached = delivered.usage.tokens_cached if delivered.usage else 0
    return Completion(
        request_id=request_id,
        model_id=model.name,
        model_sha256=model.sha256,
        prompt_blake3=asked.prompt_blake3,
        tokens_input=tokens.tokens_input,
        tokens_output=tokens.tokens_output,
        started_at=started_at,
        ended_at=max(started_at, ended_at),
        p95_ms=_p95(waits_ms),
        hedged=hedged,
        # a chat template alone repeats a few tokens of every prompt
        cache_hit=cached * 2 >= tokens.tokens_input > 0,
        outcome=outcome,
        finish=finish_name(delivered.finishes),
        usage_source=tokens.source,
        output_blake3=None if asked.kind is Kind.EMBEDDING else delivered.text_blake3,
    )


async def _count(text: str, count: TokenCount) -> int:
    if not text:
        return 0
    counted = await count(text)
    return max(1, len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN) if counted is None else counted


def _p95(waits_ms: list[float]) -> float:
    """The 95th percentile (nearest rank), in milliseconds with one decimal place. 0 without any."""
    if not waits_ms:
        return 0.0
    rank = -(-len(waits_ms) * 95 // 100)
    return min(round(sorted(waits_ms)[rank - 1], 1), float(MAX_MILLISECONDS))
