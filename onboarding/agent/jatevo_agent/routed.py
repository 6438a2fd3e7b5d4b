"""Simulated requests that a router hands out, as in a network with a gateway.

The router decides which request the node serves, and the node only makes up the answer. A few requests come
past the router, as from clients that know the node's address.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from .clock import ConsoleClock
from .completion import Completion
from .simulate import LONGEST_CATCH_UP_SECONDS, SyntheticRequests, synthetic_model_sha256
from .wire.schema import RequestOutcome

ROUTER_TIMEOUT_SECONDS = 5.0
DIRECT_SHARE = 0.12  # of the requests, past the router


@dataclass(frozen=True)
class Asked:
    """A request that the router gave to this node."""

    request_id: str
    model_id: str
    tokens_input: int
    max_tokens: int
    hedged: bool


_ASKED_MEMBERS: tuple[tuple[str, type], ...] = (
    ("request_id", str),
    ("model_id", str),
    ("tokens_input", int),
    ("max_tokens", int),
    ("hedged", bool),
)


class RouterClient:
    """The HTTP client of a router. Close it with `close`."""

    def __init__(self, url: str, node_id: str, models: Sequence[str]) -> None:
        self._about = {"node_id": node_id, "models": list(models)}
        self._client = httpx.Client(base_url=url.rstrip("/"), trust_env=False, timeout=ROUTER_TIMEOUT_SECONDS)

    def close(self) -> None:
        self._client.close()

    def next_request(self) -> Asked | None:
        """A request for this node, or None if the router has none or does not answer."""
        try:
            answer = self._client.post("/requests", json=self._about)
            return _asked(answer.json()) if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError):
            return None

    def answered(self, request_id: str) -> None:
        """Tells the router that the node has answered. It does not matter if that gets lost."""
        said = {"node_id": self._about["node_id"], "request_id": request_id}
        try:
            self._client.post("/answers", json=said)
        except httpx.HTTPError:
            return


class RoutedRequests:
    """Asks the router for requests at a given rate, and completes each after its time. Call `run` in a thread."""

    def __init__(
        self,
        *,
        rate_per_second: float,
        models: Sequence[str],
        concurrency: int,
        clock: ConsoleClock,
        router: RouterClient,
        record: Callable[[Completion], None],
        stopping: threading.Event,
        rng: random.Random | None = None,
    ) -> None:
        self._rate_per_second = rate_per_second
        self._concurrency = concurrency
        self._clock = clock
        self._router = router
        self._record = record
        self._stopping = stopping
        self._rng = rng or random.SystemRandom()
        self._invented = SyntheticRequests(
            rate_per_second=rate_per_second,
            models=models,
            clock=clock,
            record=record,
            stopping=stopping,
            rng=self._rng,
        )

    def run(self) -> None:
        """Serve requests until `stopping` is set. Requests that are then under way get no receipt."""
        due = time.monotonic()
        under_way: list[tuple[float, int, Completion]] = []
        number = 0
        while True:
            due += self._rng.expovariate(self._rate_per_second)
            due = max(due, time.monotonic() - LONGEST_CATCH_UP_SECONDS)
            while under_way and under_way[0][0] <= due:
                ends, _, completion = heapq.heappop(under_way)
                if self._stopping.wait(max(0.0, ends - time.monotonic())):
                    return
                self._record(completion)
                self._router.answered(completion.request_id)
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            if len(under_way) < self._concurrency and (begun := self.begin()):
                number += 1
                seconds = begun.ended_at - begun.started_at
                heapq.heappush(under_way, (time.monotonic() + seconds, number, begun))

    def begin(self) -> Completion | None:
        """A request that begins now, with the answer that it will get. None if there is nothing to serve."""
        drawn = self._invented.completion(0.0)
        started_at = self._clock.now()
        if self._rng.random() < DIRECT_SHARE:
            changes: dict[str, Any] = {"hedged": False}
        elif asked := self._router.next_request():
            # the draw is of the right kind, and the router's limits hold
            failed = drawn.outcome is RequestOutcome.ERROR
            tokens_output = 0 if failed else max(1, min(drawn.tokens_output, asked.max_tokens))
            changes = {
                "request_id": asked.request_id,
                "model_id": asked.model_id,
                "model_sha256": synthetic_model_sha256(asked.model_id),
                "tokens_input": asked.tokens_input,
                "tokens_output": tokens_output,
                "checkpoints": tuple(each for each in drawn.checkpoints if each <= tokens_output),
                "hedged": asked.hedged,
            }
        else:
            return None
        return replace(drawn, started_at=started_at, ended_at=started_at - drawn.started_at, **changes)


def _asked(said: Any) -> Asked:
    """The router's answer. Raises ValueError for anything else."""
    if isinstance(said, dict) and all(isinstance(said.get(name), kind) for name, kind in _ASKED_MEMBERS):
        return Asked(**{name: said[name] for name, _kind in _ASKED_MEMBERS})
    raise ValueError("the router's answer is not understood")
