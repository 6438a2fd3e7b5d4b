"""Waits until the worker is done with what a bench has seeded."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from jatevo.local.steps import Steps

SECONDS_BETWEEN_REPORTS = 60.0

# Receipts that no rate prices are passed over until there is one.
_ACCRUAL = "SELECT count(*) FROM receipts_unjudged WHERE NOT unpriced HAVING count(*) > 0"
_OUTBOX = "SELECT count(*) FROM metrics_outbox WHERE poisoned IS NULL HAVING count(*) > 0"
_SEARCH = (
    "SELECT filled, until_at FROM metrics_receiptgap UNION ALL"
    " SELECT last_id, created_at FROM earnings_verdictstodeliver LIMIT 1"
)


class BacklogRemains(Exception):
    """The worker was not done in time."""


def wait_until_accrued(env: dict[str, str], steps: Steps, *, within_seconds: float) -> None:
    """Until earnings have judged all receipts, and the outbox is empty. Raises BacklogRemains."""
    deadline = time.monotonic() + within_seconds
    _wait(env, steps, deadline, _ACCRUAL, lambda count: f"receipts to accrue: {count:,}")
    _wait(env, steps, deadline, _OUTBOX, lambda count: f"rows in the outbox: {count:,}")


def wait_until_searchable(env: dict[str, str], steps: Steps, *, within_seconds: float) -> None:
    """Until the worker has copied all receipts and their verdicts to ClickHouse. Raises BacklogRemains."""

    def said(filled: int, until: datetime) -> str:
        return f"the search of receipts is filled: {filled:,}, at {until:%F}"

    _wait(env, steps, time.monotonic() + within_seconds, _SEARCH, said)


def _wait(env: dict[str, str], steps: Steps, deadline: float, left: str, say: Callable[..., str]) -> None:
    """Until the query `left` finds nothing. Until then, `say` makes a sentence of its row."""
    reported = 0.0
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as database:
        while row := _first(database, left):
            now = time.monotonic()
            if now > deadline:
                raise BacklogRemains(f"The worker is not done in time: {say(*row)}.")
            if now - reported > SECONDS_BETWEEN_REPORTS:
                reported = now
                steps.say(say(*row))
            time.sleep(1)


def _first(database: psycopg.Connection, query: str) -> tuple[Any, ...] | None:
    return database.execute(query.encode()).fetchone()
