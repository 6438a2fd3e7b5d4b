"""Questions to ClickHouse are answered in the thread that asks, however busy the machine is."""

from collections.abc import Callable
from typing import Generic, TypeVar

import pytest

from jatevo.metrics import last_good
from receipts import aggregates
from receipts.search import finding

T = TypeVar("T")


def _at_once(compute: Callable[[], T], wait_seconds: float = 0) -> T:
    return compute()


class Done(Generic[T]):
    """What has been asked for and is there."""

    def __init__(self, compute: Callable[[], T], *, patience_seconds: float) -> None:
        self._compute = compute

    def within(self, seconds: float) -> T:
        return self._compute()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is answered. How long a page waits is tested in test_patience."""
    for module in (last_good, aggregates):
        monkeypatch.setattr(module, "patiently", _at_once)
    monkeypatch.setattr(finding, "asking", Done)
