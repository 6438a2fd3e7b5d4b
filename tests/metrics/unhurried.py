"""Questions to ClickHouse are answered in the thread that asks, however busy the machine is."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from jatevo.metrics import last_good
from receipts import aggregates
from receipts.search import finding

T = TypeVar("T")


def _at_once(compute: Callable[[], T], wait_seconds: float = 0) -> T:
    return compute()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is answered. How long a page waits is tested in test_patience."""
    for module in (last_good, aggregates, finding):
        monkeypatch.setattr(module, "patiently", _at_once)
