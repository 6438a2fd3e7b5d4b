"""What the metrics store said of one node, and what it said last while it does not answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from logging import ERROR, INFO
from typing import Generic, TypeVar

import structlog

from jatevo.metrics.patience import patiently
from jatevo.metrics.store import MetricsError, MetricsUnavailable
from jatevo.web.remembered import Remembered

KEEP_SECONDS = 24 * 3600

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Kept(Generic[T]):
    """`value` is None if the store has never answered; `stale` while it does not."""

    value: T | None
    as_of: datetime
    stale: bool


@dataclass(frozen=True)
class _Entry(Generic[T]):
    value: T
    as_of: datetime


def kept(key: str, compute: Callable[[], T], *, at: datetime, fresh_for: timedelta) -> Kept[T]:
    """The answer of `compute`, at most `fresh_for` old, or the last good one of a day.

    Waits no longer than `patiently` does. A late answer is kept too: the next page has it.
    """
    remembered: Remembered[_Entry[T]] = Remembered(key, keep_seconds=KEEP_SECONDS)
    known = remembered.get()
    if known is not None and timedelta(0) <= at - known.as_of < fresh_for:
        return Kept(known.value, known.as_of, stale=False)

    def ask() -> _Entry[T]:
        entry = _Entry(compute(), at)
        remembered.set(entry)
        return entry

    try:
        fresh = patiently(ask)
    except MetricsError as error:
        away = isinstance(error, MetricsUnavailable)  # anything else is a mistake of ours
        log.log(INFO if away else ERROR, "the metrics store does not answer", key=key, error=str(error))
        return Kept(None, at, stale=True) if known is None else Kept(known.value, known.as_of, stale=True)
    return Kept(fresh.value, fresh.as_of, stale=False)
