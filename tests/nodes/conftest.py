"""What tests of nodes share."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from nodes.sweeper import start_counting
from tests.page_readers import operator, org

__all__ = ["operator", "org"]


@pytest.fixture
def clock(settings: Any) -> Iterator[time_machine.Traveller]:
    """The time stands still until a test moves it on. Rate limits go by the real one."""
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "node": "1000/second"}
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as traveller:
        start_counting(at=timezone.now())
        yield traveller
