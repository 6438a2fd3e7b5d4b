"""The delay before the next attempt: exponential with jitter, and at least what the server asked for."""

from __future__ import annotations

import random

LONGEST_RETRY_AFTER_SECONDS = 3600.0


class Backoff:
    """Delays that double from `first_seconds` to `longest_seconds`, each reduced at random by up to half.

    The jitter prevents all agents from returning at the same moment after an outage of the console.
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
        """The number of consecutive failures."""
        return self._failures

    def succeeded(self) -> None:
        """Reset to the shortest delay."""
        self._failures = 0

    def failed(self, retry_after_seconds: float | None = None) -> float:
        """Count a failure and return the seconds to wait, at least the server's Retry-After.

        A Retry-After over LONGEST_RETRY_AFTER_SECONDS is reduced to that.
        """
        doublings = min(self._failures, 30)
        self._failures += 1
        delay = min(self._longest_seconds, self._first_seconds * 2**doublings) * self._rng.uniform(0.5, 1.0)
        if retry_after_seconds is None:
            return delay
        asked = min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        return max(delay, asked + self._rng.uniform(0.0, 0.25))
