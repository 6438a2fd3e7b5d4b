"""A node's latency charts show what was measured."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from jatevo.metrics.queries import LatencyPoint
from nodes.detail.latency_charts import HEIGHT, WIDTH, ChartWindow, latency_chart

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def point(
    ts: datetime, p50: float | None = 50, p95: float | None = 95, p99: float | None = 99
) -> LatencyPoint:
    return LatencyPoint(ts, p50, p95, p99, 30.0)


def test_without_points_there_is_no_line() -> None:
    chart = latency_chart([], ChartWindow.DAY, at=AT)
    assert (chart.lines, json.loads(chart.data)) == ([], [[], [], [], []])


def test_lines_lie_where_time_and_value_say() -> None:
    chart = latency_chart(
        [point(AT - timedelta(hours=12)), point(AT - timedelta(hours=12) + 5 * MINUTE)],
        ChartWindow.DAY,
        at=AT,
    )
    assert chart.top_ms == 100
    p50 = chart.lines[0]
    first = p50.polylines[0].split(" ")[0]
    assert first == f"{WIDTH / 2:.1f},{HEIGHT / 2:.1f}"
    assert [line.name for line in chart.lines] == ["p50", "p95", "p99"]


def test_a_silence_breaks_the_line_in_both_drawings() -> None:
    points = [
        point(AT - 90 * MINUTE),
        point(AT - 85 * MINUTE),
        point(AT - 30 * MINUTE),
        point(AT - 25 * MINUTE),
    ]
    chart = latency_chart(points, ChartWindow.DAY, at=AT)
    assert len(chart.lines[0].polylines) == 2
    times, p50, *_ = json.loads(chart.data)
    assert p50 == [50, 50, None, 50, 50]
    assert times == sorted(times)


def test_probes_close_together_show_the_worst() -> None:
    points = [point(AT - 60 * MINUTE + timedelta(seconds=each), p99=100 + each) for each in range(30)]
    chart = latency_chart(points, ChartWindow.DAY, at=AT)
    assert len(json.loads(chart.data)[0]) <= 2
    assert chart.lines[2].highest_ms == 129
    assert chart.points == 30


def test_the_figures_are_of_each_probe_also_where_the_worst_of_some_is_drawn() -> None:
    points = [point(AT - each * MINUTE, p95=900 if each % 4 == 0 else 100) for each in range(1440, 0, -1)]
    chart = latency_chart(points, ChartWindow.DAY, at=AT)
    line = chart.lines[1]
    assert (line.least_ms, line.median_ms, line.highest_ms, line.last_ms) == (100, 100, 900, 100)
    assert (chart.points, chart.worst_of_minutes) == (1440, 4)
    assert latency_chart(points[::8], ChartWindow.DAY, at=AT).worst_of_minutes == 0  # each of them is drawn


@pytest.mark.parametrize("window", list(ChartWindow))
def test_a_day_of_a_probe_a_minute_stays_small(window: ChartWindow) -> None:
    minutes = int(window.length / MINUTE)
    chart = latency_chart([point(AT - each * MINUTE) for each in range(minutes, 0, -1)], window, at=AT)
    assert len(json.loads(chart.data)[0]) <= 361


def test_the_summary_is_of_the_points() -> None:
    values = [80.0, 20.0, 40.0]
    points = [point(AT - (30 - 5 * index) * MINUTE, p50=value) for index, value in enumerate(values)]
    line = latency_chart(points, ChartWindow.DAY, at=AT).lines[0]
    assert (line.least_ms, line.median_ms, line.highest_ms, line.last_ms) == (20, 40, 80, 40)


def test_what_was_not_measured_is_a_gap_and_not_a_zero() -> None:
    points = [point(AT - 20 * MINUTE, p99=None), point(AT - 15 * MINUTE, p99=None)]
    chart = latency_chart(points, ChartWindow.DAY, at=AT)
    assert [line.name for line in chart.lines] == ["p50", "p95"]
    assert json.loads(chart.data)[3] == [None, None]


@pytest.mark.parametrize(
    ("highest", "top"), [(0.4, 1), (3.1, 4), (95, 100), (101, 150), (880, 1000), (1001, 1500)]
)
def test_the_axis_ends_at_a_round_value_above_all(highest: float, top: float) -> None:
    points = [point(AT - 10 * MINUTE, highest, highest, highest)]
    assert latency_chart(points, ChartWindow.DAY, at=AT).top_ms == top
