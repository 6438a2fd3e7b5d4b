"""Gathers the requests of an event loop and answers them in threads, for adapters that get many at a time."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from django.db import connection

from jatevo.web.gathering import Gatherer, Later
from jatevo.web.postgresql.budgets import INGEST, working
from nodes.ingress.signed import PATIENCE_SECONDS, Answered, SignedEndpoint, SignedRequest

# How many groups of an endpoint a process answers at a time, if a second one is worth it: while PostgreSQL stores the one,
# the next is checked. Groups that are much smaller cost more than that saves.
TURNS: Final = 2
WORTH_A_TURN: Final = 32
MOST_TOGETHER: Final = 256
MOST_BYTES_TOGETHER: Final = 64 * 1024  # about a batch of 100 receipts, which gains nothing by company
MOST_WAITING: Final = 2_000


def gather(endpoint: SignedEndpoint[Any]) -> Gatherer[SignedRequest, Answered]:
    """Threads that answer an endpoint's requests, with the limits of ingest."""
    return Gatherer(
        _in_budget(endpoint),
        weigh=lambda request: len(request.body),
        turns=TURNS,
        worth_a_turn=WORTH_A_TURN,
        most_waiting=MOST_WAITING,
        most_together=MOST_TOGETHER,
        most_weight=MOST_BYTES_TOGETHER,
        patience_seconds=PATIENCE_SECONDS,
        at_end=_give_connection_back,
    )


def _in_budget(
    endpoint: SignedEndpoint[Any],
) -> Callable[[Sequence[SignedRequest]], list[Answered | Later[Answered]]]:
    """The endpoint's `answer`, with the limits of ingest and the thread's own connection."""

    def answer(requests: Sequence[SignedRequest]) -> list[Answered | Later[Answered]]:
        with working(INGEST):
            _return_idle_connection()
            return [
                Later(partial(_alone, each)) if isinstance(each, Later) else each
                for each in endpoint.answer(requests)
            ]

    return answer


def _alone(later: Later[Answered]) -> Answered:
    with working(INGEST):
        try:
            return later.answer()
        finally:
            connection.close()  # it is rarely needed again


def _give_connection_back() -> None:
    connection.close()


def _return_idle_connection() -> None:
    """Gives the thread's connection back to the pool, which checks it before the next use, unless it answered just now."""
    own = connection.connection
    if own is None:
        return
    idle_seconds = time.monotonic() - own.answered_at
    if idle_seconds > INGEST.fresh_seconds or connection.errors_occurred:
        connection.close()
