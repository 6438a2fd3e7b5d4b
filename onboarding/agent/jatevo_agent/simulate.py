"""Synthetic requests at a given rate, for use until a runtime is connected.

Completions are a Poisson process, as they would be if requests arrived as one, whatever their durations.
Sizes and times resemble chat traffic: long-tailed, mostly short.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from .clock import ConsoleClock
from .completion import Completion, prompt_digest
from .wire.schema import RequestOutcome

CHECKPOINT_EVERY_TOKENS = 100
LONGEST_CATCH_UP_SECONDS = 2.0

_CACHE_HIT_SHARE = 0.18
_HEDGED_SHARE = 0.04
_ERROR_SHARE = 0.01


class SyntheticRequests:
    """Completes synthetic requests. Call `run` in a thread."""

    def __init__(
        self,
        *,
        rate_per_second: float,
        models: Sequence[str],
        clock: ConsoleClock,
        record: Callable[[Completion], None],
        stopping: threading.Event,
        rng: random.Random | None = None,
    ) -> None:
        self._rate_per_second = rate_per_second
        self._models = list(models)
        self._clock = clock
        self._record = record
        self._stopping = stopping
        self._rng = rng or random.SystemRandom()

    def run(self) -> None:
        """Complete requests until `stopping` is set."""
        due = time.monotonic()
        while True:
            due += self._rng.expovariate(self._rate_per_second)
            # Do not catch up on the time for which the machine was suspended.
            due = max(due, time.monotonic() - LONGEST_CATCH_UP_SECONDS)
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            self._record(self.completion(self._clock.now()))

    def completion(self, ended_at: float) -> Completion:
        """A synthetic request that ended at `ended_at` (unix seconds)."""
        rng = self._rng
        model_id = rng.choice(self._models)
        cache_hit = rng.random() < _CACHE_HIT_SHARE
        failed = rng.random() < _ERROR_SHARE
        tokens_input = _between(8, rng.lognormvariate(5.3, 0.9), 8_000)
        tokens_output = 0 if failed else _between(1, rng.lognormvariate(4.9, 0.8), 4_000)
        p95_ms = round(rng.lognormvariate(5.7, 0.25) * (0.4 if cache_hit else 1.0))
        seconds_per_token = rng.uniform(0.012, 0.035)
        return Completion(
            request_id="r_" + secrets.token_urlsafe(16),
            model_id=model_id,
            model_sha256=synthetic_model_sha256(model_id),
            prompt_blake3=prompt_digest(secrets.token_bytes(32)),
            tokens_input=tokens_input,
            tokens_output=tokens_output,
            started_at=ended_at - p95_ms / 1000 - tokens_output * seconds_per_token,
            ended_at=ended_at,
            p95_ms=p95_ms,
            checkpoints=tuple(range(CHECKPOINT_EVERY_TOKENS, tokens_output + 1, CHECKPOINT_EVERY_TOKENS)),
            hedged=rng.random() < _HEDGED_SHARE,
            cache_hit=cache_hit,
            outcome=RequestOutcome.ERROR if failed else RequestOutcome.OK,
        )


def synthetic_model_sha256(model_id: str) -> str:
    """A substitute for the digest of a model's weights: the SHA-256 of a phrase with the model's name."""
    return hashlib.sha256(f"synthetic weights of {model_id}".encode()).hexdigest()


def _between(lowest: int, value: float, highest: int) -> int:
    return max(lowest, min(highest, round(value)))
