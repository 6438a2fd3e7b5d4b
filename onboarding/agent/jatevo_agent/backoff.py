"""How long to wait before the next attempt: exponential with jitter, and never sooner than was asked."""

import random

LONGEST_RETRY_AFTER_SECONDS = 3600.0


class Backoff:
    """Delays that double from `first_seconds` to `longest_seconds`, each cut by up to a half at random.

    The jitter keeps a fleet that lost its console from returning in one instant.
    """

    def __init__(
        self, first_seconds: float, longest_seconds: float, rng: random.Random | None = None
    ) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._rng = rng or random.SystemRandom()
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures in a row so far."""
        return self._failures

    def succeeded(self) -> None:
        """Start again from the shortest delay."""
        self._failures = 0

    def failed(self, retry_after_seconds: float | None = None) -> float:
        """Count a failure and return the seconds to wait, at least what the server's Retry-After asked."""
        doublings = min(self._failures, 30)
        self._failures += 1
        delay = min(self._longest_seconds, self._first_seconds * 2**doublings) * self._rng.uniform(0.5, 1.0)
        if retry_after_seconds is None:
            return delay
        asked = min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        return max(delay, asked + self._rng.uniform(0.0, 0.25))
