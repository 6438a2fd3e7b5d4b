"""The last good answers of ClickHouse, for use while it does not answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from logging import ERROR, INFO
from typing import Generic, TypeVar

import structlog

from jatevo.metrics.patience import patiently
from jatevo.metrics.transport import MetricsError, MetricsUnavailable
from jatevo.web.remembered import Remembered

KEEP_SECONDS = 24 * 3600
ALWAYS_ASK = timedelta(0)

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class LastGood(Generic[T]):
    """An answer and its time.

    `stale` means that ClickHouse did not answer now. `value` is None if it has not answered for a day.
    """

    value: T | None
    as_of: datetime
    stale: bool


@dataclass(frozen=True)
class _Answer(Generic[T]):
    value: T
    as_of: datetime


def last_good(
    key: str, compute: Callable[[], T], *, at: datetime, fresh_for: timedelta = ALWAYS_ASK
) -> LastGood[T]:
    """The result of `compute` as of `at`, a stored one younger than `fresh_for`, or the last good one.

    Waits as long as `patiently` does. `compute` must not query PostgreSQL. A late result is stored for the
    next page. Increase the number in `key` when the fields of the value's class change.
    """
    remembered: Remembered[_Answer[T]] = Remembered(key, keep_seconds=KEEP_SECONDS)
    known = remembered.get()
    if known is not None and timedelta(0) <= at - known.as_of < fresh_for:
        return LastGood(known.value, known.as_of, stale=False)

    def ask() -> _Answer[T]:
        answer = _Answer(compute(), at)
        remembered.set(answer)
        return answer

    try:
        fresh = patiently(ask)
    except MetricsError as error:
        away = isinstance(error, MetricsUnavailable)  # anything else is a bug
        log.log(INFO if away else ERROR, "the metrics store does not answer", key=key, error=str(error))
        return (
            LastGood(None, at, stale=True)
            if known is None
            else LastGood(known.value, known.as_of, stale=True)
        )
    return LastGood(fresh.value, fresh.as_of, stale=False)
