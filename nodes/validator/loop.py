"""The validator's main loop: polls the console, probes what is due and posts the results, until stopped."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nodes.rules.probes import ProbeKind
from nodes.validator.console import (
    Assignment,
    ConsoleError,
    NotAcceptedError,
    ProbeReport,
    TokenRefusedError,
    ValidatorClient,
    report,
)
from nodes.validator.faults import FailureDetail
from nodes.validator.probe import Prober, Result
from nodes.validator.spacing import Spacing, priority

log = logging.getLogger("jatevo.validator")

POST_ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
LONGEST_POLL_SECONDS = 60.0
TOKEN_RETRY_SECONDS = 30.0
MOST_REMEMBERED_LINES = 10_000  # beyond this, some lines are logged twice


def backoff_seconds(attempt: int, *, spread: Callable[[], float] = random.random) -> float:
    """How long to wait after an attempt (1 is the first). It doubles up to a limit, with random jitter."""
    bound: float = min(FIRST_BACKOFF_SECONDS * 2 ** min(attempt - 1, 16), LONGEST_BACKOFF_SECONDS)
    return bound * (0.5 + 0.5 * spread())


@dataclass(order=True)
class _Task:
    rank: tuple[int, int]  # priority, then order of arrival
    node: Assignment = field(compare=False)
    kind: ProbeKind = field(compare=False)


class Loop:
    """Runs until `stop` is called, with at most `concurrency` probes at a time."""

    def __init__(
        self, console: ValidatorClient, prober: Prober, *, interval_seconds: float, concurrency: int
    ) -> None:
        self._console = console
        self._prober = prober
        self._interval_seconds = interval_seconds
        self._concurrency = concurrency
        self._spacing = Spacing()
        self._queue: asyncio.PriorityQueue[_Task] = asyncio.PriorityQueue()
        self._waiting: set[tuple[str, ProbeKind]] = set()
        self._arrivals = 0
        self._named: dict[str, Assignment] = {}  # from the console's latest answer
        self._answered = asyncio.Condition()
        self._polls_begun = self._last_poll_answered = 0
        self._last_line: dict[str, str] = {}
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends soon. Probes under way are abandoned; the console will ask for them again."""
        self._stop.set()

    async def run(self) -> None:
        """Polls, probes and posts until `stop`.

        An unexpected error in this program ends it with its exception.
        """
        jobs = [asyncio.create_task(self._poll())]
        jobs += [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        stopping = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopping, *jobs], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, *jobs):
            task.cancel()
        await asyncio.gather(stopping, *jobs, return_exceptions=True)
        for task in done - {stopping}:
            task.result()

    async def _poll(self) -> None:
        failures = 0
        while True:
            try:
                wait = await self._poll_once()
                failures = 0
            except ConsoleError as error:
                failures += 1
                self._say("console", f"{error}; trying again", level=logging.WARNING)
                wait = error.retry_after_seconds or backoff_seconds(failures)
            except (TokenRefusedError, NotAcceptedError) as error:
                self._say("console", f"{error}; check id, token and clock", level=logging.ERROR)
                wait = TOKEN_RETRY_SECONDS
            await asyncio.sleep(min(wait, LONGEST_POLL_SECONDS))

    async def _poll_once(self) -> float:
        """Queues what is due. Returns the seconds until the next poll."""
        self._polls_begun += 1
        this_poll = self._polls_begun
        answer = await self._console.assignments()
        self._say("console", "connected")
        async with self._answered:
            self._last_poll_answered = this_poll
            self._named = {node.target.node_id: node for node in answer.nodes}
            self._answered.notify_all()
        for node, kind in self._spacing.take(answer.nodes, at=time.monotonic()):
            key = (node.target.node_id, kind)
            if key not in self._waiting:
                self._waiting.add(key)
                self._arrivals += 1
                self._queue.put_nowait(_Task((priority(node.status), self._arrivals), node, kind))
        return max(self._interval_seconds, answer.poll_after_seconds or 0)

    async def _work(self) -> None:
        while True:
            task = await self._queue.get()
            node_id = task.node.target.node_id
            try:
                result = await self._probe(task.node, task.kind)
                if task.kind is ProbeKind.AUDIT and result.is_false_answer:
                    confirmed = await self._audit_again(node_id)
                    if confirmed is None:
                        continue
                    result = confirmed
                self._say(node_id, f"{task.node.status}, {'answers' if result.ok else result.detail}")
                await self._deliver(report(node_id, task.kind, result, at=time.time()))
            except Exception:
                # This parses answers of untrusted nodes. An answer of one node must not stop the others'
                # probes.
                log.exception("%s: a probe ended in a fault of the validator", node_id)
                ours = Result(cause=FailureDetail.OURS, detail=FailureDetail.OURS.value)
                await self._deliver(report(node_id, task.kind, ours, at=time.time()))
            finally:
                self._waiting.discard((node_id, task.kind))

    async def _audit_again(self, node_id: str) -> Result | None:
        """Repeats an audit with the key that the console names now. None if no audit is due any more.

        A failed audit quarantines a node, and an honest node that has just changed its key would fail the
        first one.
        """
        # a poll that is under way may have been answered before the change, so only the next one counts
        next_poll = self._polls_begun + 1
        async with self._answered:
            await self._answered.wait_for(lambda: self._last_poll_answered >= next_poll)
        node = self._named.get(node_id)
        if node is None or ProbeKind.AUDIT not in node.due:
            return None
        return await self._probe(node, ProbeKind.AUDIT)

    async def _probe(self, node: Assignment, kind: ProbeKind) -> Result:
        match kind:
            case ProbeKind.HEALTH:
                return await self._prober.health(node.target)
            case ProbeKind.LATENCY:
                return await self._prober.latency(node.target)
            case ProbeKind.AUDIT:
                return await self._prober.audit(node.target)

    async def _deliver(self, probe: ProbeReport) -> None:
        """Posts a report with a few retries, then drops it, because a new probe is worth more than an old
        one.
        """
        for attempt in range(1, POST_ATTEMPTS + 1):
            try:
                await self._console.post(probe)
            except ConsoleError as error:
                if attempt == POST_ATTEMPTS:
                    self._say("posts", f"{error}; probes are dropped", level=logging.WARNING)
                    return
                await asyncio.sleep(min(error.retry_after_seconds or backoff_seconds(attempt), 5.0))
            except (TokenRefusedError, NotAcceptedError) as error:
                self._say("posts", f"{error}; probes are dropped", level=logging.WARNING)
                return
            else:
                self._say("posts", "delivered")
                return

    def _say(self, subject: str, line: str, *, level: int = logging.INFO) -> None:
        """Logs a line about a subject only if it differs from the last one."""
        if self._last_line.get(subject) != line:
            if len(self._last_line) >= MOST_REMEMBERED_LINES:
                self._last_line.clear()
            self._last_line[subject] = line
            log.log(level, "%s: %s", subject, line)
