"""Delivers receipts from the spool to the console. Each takes effect exactly once.

The same bytes are sent until the console answers. The console recognises repeated receipts, so after a lost
answer they are simply sent again. Temporary failures are retried for ever. A receipt that the console refuses
for good is set aside with the reason, so that it does not block the others. If it ended later than the console accepts
by its clock, which was set back since, it waits until the console's time is later.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

from . import logs
from .backoff import Backoff
from .clock import TOLERATED_DRIFT_SECONDS, ConsoleClock
from .console import Answer, ConsoleClient, Unreachable
from .spool import Refusal, Spool, SpoolClosed, Spooled

MOST_PER_BATCH = 500
MOST_BATCH_BYTES = 1_900_000  # the console accepts 2 MiB
SECONDS_BETWEEN_POSTS = 0.25  # the console accepts 5 posts a second from a node
TOKEN_REFUSED_PAUSE_SECONDS = 60.0
# The console accepts 300 s, by its clock, which is known to within the tolerated drift.
MOST_AHEAD_SECONDS = 300 - TOLERATED_DRIFT_SECONDS

_JUDGED_FOR_GOOD = {400, 409, 413, 422}


class Delivery:
    """Sends the spool's receipts. Call `run` in a thread, and `wake` after each new receipt."""

    def __init__(
        self,
        spool: Spool,
        console: ConsoleClient,
        clock: ConsoleClock,
        node_token: str,
        stopping: threading.Event,
    ) -> None:
        self._spool = spool
        self._console = console
        self._clock = clock
        self._node_token = node_token
        self._stopping = stopping
        self._waiting = threading.Event()
        self._backoff = Backoff(first_seconds=0.5, longest_seconds=15.0)
        self._most = MOST_PER_BATCH

    def wake(self) -> None:
        """Wake the thread, because there is a new receipt or it should stop."""
        self._waiting.set()

    def run(self) -> None:
        """Deliver until `stopping` is set."""
        while not self._stopping.is_set():
            self._waiting.clear()
            if self._stopping.is_set():
                return  # the line above may have cleared the `wake` that followed
            try:
                batch = self.next_batch()
                if batch:
                    self._stopping.wait(self.deliver(batch))
                else:
                    self._waiting.wait()
            except SpoolClosed:
                return
            except sqlite3.Error as error:
                logs.error("the spool cannot be used", reason=str(error))
                self._stopping.wait(self._backoff.failed())

    def next_batch(self) -> list[Spooled]:
        """The receipts to send next. Empty if all are delivered."""
        return self._spool.oldest(self._most, MOST_BATCH_BYTES)

    def deliver(self, batch: Sequence[Spooled]) -> float:
        """Send a batch once and settle what the console accepted or refused.

        Returns the seconds until the next post.
        """
        began = time.monotonic()
        try:
            answer = self._console.receipts(self._node_token, _body(batch))
        except Unreachable as error:
            return self._failed("the console cannot be reached; receipts wait", str(error))
        if answer.status in {200, 201}:
            pause_seconds = self._settle_success(batch, answer)
        else:
            pause_seconds = self._after_refusal(batch, answer)
        return max(pause_seconds, began + SECONDS_BETWEEN_POSTS - time.monotonic(), 0.0)

    def _settle_success(self, batch: Sequence[Spooled], answer: Answer) -> float:
        if len(batch) == 1:
            self._spool.settle([batch[0].seq], [])
            self._succeeded(1)
            return 0.0
        results = _results_in_order(batch, answer)
        if results is None:
            return self._failed("the console's answer to a batch is invalid", "results do not match")
        delivered = [item.seq for item, result in results if result.get("status") in {200, 201}]
        refusals = [
            Refusal(item.seq, result["status"], _result_reason(result))
            for item, result in results
            if result.get("status") in _JUDGED_FOR_GOOD and not self._is_ahead(item)
        ]
        self._spool.settle(delivered, refusals)
        for refusal in refusals:
            logs.error("a receipt was refused", status=refusal.status, reason=refusal.reason)
        if len(delivered) + len(refusals) < len(batch):
            return self._failed("the console postponed part of a batch", "unsettled results")
        self._succeeded(len(delivered))
        return 0.0

    def _after_refusal(self, batch: Sequence[Spooled], answer: Answer) -> float:
        if answer.status == 401 and answer.error_type == "clock_skew" and answer.server_time is not None:
            self._clock.observe(answer.server_time)
            return self._failed("the console rejected this clock's time; receipts wait", answer.reason)
        if answer.may_pass or answer.error_type == "replayed_request":
            return self._failed(
                "the console is busy; receipts wait", answer.reason, answer.retry_after_seconds
            )
        if answer.status in _JUDGED_FOR_GOOD:
            if len(batch) == 1 and self._is_ahead(batch[0]):
                return self._failed("a receipt waits until the console's time is later", answer.reason)
            if len(batch) == 1:
                self._spool.settle([], [Refusal(batch[0].seq, answer.status, answer.reason)])
                logs.error(
                    "a receipt was refused",
                    request_id=batch[0].request_id,
                    status=answer.status,
                    reason=answer.reason,
                )
            else:
                # One receipt makes the batch fail. Halve it until that receipt is alone.
                self._most = len(batch) // 2
            return 0.0
        self._failed("the console does not accept this node's receipts; they wait", answer.reason)
        return TOKEN_REFUSED_PAUSE_SECONDS

    def _is_ahead(self, item: Spooled) -> bool:
        """Whether the receipt's request ended too far in the future, by the console's time."""
        ended_at: float = json.loads(item.body)["ts_end"]
        return ended_at > self._clock.now() + MOST_AHEAD_SECONDS

    def _failed(self, event: str, reason: str, retry_after_seconds: float | None = None) -> float:
        delay = self._backoff.failed(retry_after_seconds)
        if self._backoff.failures == 1:
            logs.warning(event, reason=reason)
        return delay

    def _succeeded(self, count: int) -> None:
        self._most = min(MOST_PER_BATCH, self._most * 2)
        if self._backoff.failures:
            logs.info("receipts are delivered again", count=count)
        self._backoff.succeeded()


def _body(batch: Sequence[Spooled]) -> bytes:
    """The body of a post: one receipt, or a batch of receipts. Receipts are not changed."""
    if len(batch) == 1:
        return batch[0].body
    return b'{"receipts":[%s]}' % b",".join(item.body for item in batch)


def _results_in_order(
    batch: Sequence[Spooled], answer: Answer
) -> list[tuple[Spooled, dict[str, Any]]] | None:
    """Each receipt with its result. None unless there is one result per receipt, in the same order."""
    results = answer.body.get("results")
    if not isinstance(results, list) or len(results) != len(batch):
        return None
    pairs = list(zip(batch, results))
    if all(
        isinstance(result, dict) and result.get("request_id") == item.request_id for item, result in pairs
    ):
        return pairs
    return None


def _result_reason(result: dict[str, Any]) -> str:
    """The reason in one result of a batch: an error object or plain text."""
    error = result.get("error")
    if isinstance(error, dict):
        return Answer(status=int(result["status"]), body={"error": error}).reason
    return str(error or f"status {result['status']}")
