"""Bars cover a range without holes, in steps of a clock that people know."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipts.search.bars import MOST_BARS, cut

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago")
MOMENTS = st.integers(946_684_800, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(MOMENTS, st.integers(1, 100 * 366 * 86_400), st.sampled_from(ZONES))
def test_bars_cover_the_range_and_cells_fall_into_them(since: datetime, seconds: int, zone: str) -> None:
    until = since + timedelta(seconds=seconds)
    found = cut(since, until, ZoneInfo(zone))
    edges = found.edges
    assert edges[0] <= since < edges[1]
    assert edges[-2] < until <= edges[-1]
    assert len(edges) - 1 <= MOST_BARS
    for number, (start, end) in enumerate(pairwise(edges)):
        first = int((start - edges[0]).total_seconds())
        last = int((end - edges[0]).total_seconds())
        assert first % found.cell_seconds == last % found.cell_seconds == 0
        assert found.bar_of(first // found.cell_seconds) == number
        assert found.bar_of(last // found.cell_seconds - 1) == number


@pytest.mark.parametrize(
    ("span", "label"),
    [
        (timedelta(seconds=1), "minute"), (timedelta(hours=1), "minute"), (timedelta(hours=3), "5 minutes"),
        (timedelta(days=1), "15 minutes"), (timedelta(days=2), "30 minutes"), (timedelta(days=4), "hour"), (timedelta(days=7), "3 hours"),
        (timedelta(days=30), "12 hours"), (timedelta(days=90), "day"), (timedelta(days=180), "week"),
        (timedelta(days=3000), "month"),
    ],
)  # fmt: skip
def test_the_width_is_the_smallest_that_fits(span: timedelta, label: str) -> None:
    since = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    assert cut(since, since + span, ZoneInfo("UTC")).width.label == label


def test_days_begin_at_midnight_of_the_zone_also_when_its_clocks_change() -> None:
    zone = ZoneInfo("America/New_York")
    found = cut(datetime(2026, 10, 20, 7, tzinfo=UTC), datetime(2026, 12, 24, tzinfo=UTC), zone)
    assert found.width.label == "day"
    assert {edge.astimezone(zone).hour for edge in found.edges} == {0}
    assert found.cell_seconds == 3600
