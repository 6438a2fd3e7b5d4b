"""Clients that use the console while its stores are stopped, and record the answers, times and errors."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import httpx

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Sample:
    """An answer. `asked_at` is in monotonic seconds. `status` is 0 if none came. `problem` is '' if it is right."""

    kind: str
    asked_at: float
    seconds: float
    status: int
    problem: str = ""


def judge_quick(answer: httpx.Response) -> str:
    return "" if answer.status_code == 200 else "not 200"


def judge_page(answer: httpx.Response) -> str:
    if answer.status_code == 200 and "</html>" in answer.text and "<main" in answer.text:
        return ""
    if answer.status_code == 503 and "database is not responding" in answer.text and "</html>" in answer.text:
        return "" if "Retry-After" in answer.headers else "no Retry-After"
    return answer.text[:200]


def judge_part(answer: httpx.Response) -> str:
    whole = "<html" in answer.text
    if answer.status_code in (200, 304) and not whole:
        return ""
    if answer.status_code == 503 and "data-outage" in answer.text and not whole:
        return ""
    return answer.text[:200]


def judge_api(answer: httpx.Response) -> str:
    if answer.status_code == 200:
        return ""
    if answer.status_code == 503 and answer.json()["error"]["type"] == "unavailable":
        return "" if "Retry-After" in answer.headers else "no Retry-After"
    return answer.text[:200]


class PageReader(threading.Thread):
    """Sends one request after another until stopped."""

    def __init__(
        self,
        kind: str,
        ask: Callable[[], httpx.Response],
        judge: Callable[[httpx.Response], str],
        *,
        pause_seconds: float,
    ) -> None:
        super().__init__(name=kind, daemon=True)
        self.samples: list[Sample] = []
        self._kind = kind
        self._ask = ask
        self._judge = judge
        self._pause_seconds = pause_seconds
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(self._pause_seconds):
            began = time.monotonic()
            try:
                answer = self._ask()
            except httpx.HTTPError as error:
                self.samples.append(Sample(self._kind, began, time.monotonic() - began, 0, repr(error)))
                continue
            seconds = time.monotonic() - began
            self.samples.append(Sample(self._kind, began, seconds, answer.status_code, self._judge(answer)))

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive(), f"{self.name} still waits for an answer"


def in_words(samples: list[Sample]) -> str:
    """`count, median, 95th percentile and maximum in ms, statuses` of one kind."""
    times = sorted(sample.seconds * 1000 for sample in samples)
    statuses = Counter(sample.status for sample in samples)
    said = ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items()))
    return f"{len(times):5} {statistics.median(times):8.0f} {percentile(times, 95):8.0f} {times[-1]:8.0f}   {said}"


def percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
