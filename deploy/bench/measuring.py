"""Sends and times requests: wall-clock milliseconds at the client, over open connections."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

import httpx

from bench.cases import ROLES, Case

TIMEOUT_SECONDS = 60.0


@dataclass
class Times:
    """The milliseconds of the answers by case, in order, and the answers other than 200."""

    by_case: dict[Case, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)

    def of(self, cases: Iterable[Case]) -> list[float]:
        return [time for case in cases for time in self.by_case[case]]


class RoleClients:
    """A signed-in client for each role. Must not be shared between threads."""

    def __init__(self, base: str, credentials: dict[str, dict[str, str]]) -> None:
        self._clients = {role: httpx.Client(base_url=base, timeout=TIMEOUT_SECONDS) for role in ROLES}
        for role, login in credentials.items():
            answer = self._clients[role].post("/v1/auth/login", json=login)
            answer.raise_for_status()

    def ask(self, case: Case) -> tuple[float, httpx.Response]:
        """The milliseconds until the whole answer has arrived."""
        headers = {"HX-Request": "true", "HX-Target": case.target} if case.target else {}
        begun = time.perf_counter()
        answer = self._clients[case.role].get(case.path, headers=headers)
        return (time.perf_counter() - begun) * 1000, answer

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def measure(
    visitors: RoleClients,
    cases: Sequence[Case],
    *,
    rounds: int,
    draw: random.Random,
    before_each: Callable[[], None] | None = None,
    into: Times | None = None,
    say: Callable[[str], None] | None = None,
) -> Times:
    """Requests every case once per round, in a new random order, to spread the effect of a slow moment.

    `say` is told of each round.
    """
    times = into or Times()
    for number in range(rounds):
        if say is not None:
            say(f"round {number + 1} of {rounds}, {len(cases)} requests")
        for case in draw.sample(cases, len(cases)):
            if before_each is not None:
                before_each()
            note(times, case, *visitors.ask(case))
    return times


def measure_together(
    everybody: Sequence[RoleClients], cases: Sequence[Case], *, rounds: int, seed: str
) -> Times:
    """Like `measure`, with several clients at once."""
    found = [Times() for _ in everybody]
    threads = [
        threading.Thread(
            target=measure,
            args=(visitors, cases),
            kwargs={"rounds": rounds, "draw": random.Random(f"{seed} {number}"), "into": found[number]},  # noqa: S311
        )
        for number, visitors in enumerate(everybody)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = Times()
    for times in found:
        together.failures += times.failures
        for case, each in times.by_case.items():
            together.by_case[case] += each
    return together


def note(times: Times, case: Case, milliseconds: float, answer: httpx.Response) -> None:
    times.by_case[case].append(milliseconds)
    if answer.status_code != 200:
        times.failures.append(f"{case.path} as {case.role}: {answer.status_code}")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
