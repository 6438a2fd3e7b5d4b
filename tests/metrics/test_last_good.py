"""The last good answer of ClickHouse: fresh, stored, stale or missing, with and without Redis."""

from datetime import UTC, datetime, timedelta

import pytest

from jatevo.metrics.last_good import LastGood, last_good
from jatevo.metrics.transport import MetricsUnavailable, QueryRefused
from jatevo.web import throttling

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def answer(value: int, *, at: datetime, fresh_for: timedelta = 0 * SECOND) -> LastGood[int]:
    return last_good("test:figure:1", lambda: value, at=at, fresh_for=fresh_for)


def outage(*, at: datetime, error: Exception | None = None) -> LastGood[int]:
    def fail() -> int:
        raise error or MetricsUnavailable("down")

    return last_good("test:figure:1", fail, at=at)


def test_an_answer_is_used_again_while_it_is_fresh() -> None:
    assert answer(1, at=NOON) == LastGood(1, NOON, stale=False)
    assert answer(2, at=NOON + 4 * SECOND, fresh_for=5 * SECOND) == LastGood(1, NOON, stale=False)
    later = NOON + 5 * SECOND
    assert answer(3, at=later, fresh_for=5 * SECOND) == LastGood(3, later, stale=False)
    assert answer(4, at=later) == LastGood(4, later, stale=False)


@pytest.mark.parametrize("error", [MetricsUnavailable("down"), QueryRefused("no such column", 47)])
def test_the_last_answer_is_used_with_its_own_time(error: Exception) -> None:
    answer(1, at=NOON)
    assert outage(at=NOON + 60 * SECOND, error=error) == LastGood(1, NOON, stale=True)


def test_what_was_never_known_is_unknown() -> None:
    assert outage(at=NOON) == LastGood(None, NOON, stale=True)


def test_without_redis_this_process_remembers() -> None:
    throttling.breaker.failed("down")
    assert answer(1, at=NOON) == LastGood(1, NOON, stale=False)
    throttling.breaker.failed("down")
    assert outage(at=NOON + 60 * SECOND) == LastGood(1, NOON, stale=True)
