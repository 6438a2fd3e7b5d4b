"""How far a node's clock is off, and when that is too far."""

from datetime import UTC, datetime, timedelta

import pytest

from nodes.rules.clock import ahead, in_seconds, is_off

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "off", "words"),
    [
        (0, False, "0 s"),
        (1.25, False, "1 s"),
        (-9.9, False, "10 s"),
        (10, False, "10 s"),
        (10.5, True, "10 s"),
        (-1200, True, "1,200 s"),
    ],
)
def test_a_clock_may_differ_by_ten_seconds(seconds: float, off: bool, words: str) -> None:
    found = ahead(NOON.timestamp() + seconds, NOON)
    assert found == timedelta(seconds=seconds)
    assert (is_off(found), in_seconds(found)) == (off, words)
