"""The Metrics tab of a node: its charts (from ClickHouse), and heartbeats, figures and probes (from
PostgreSQL).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from jatevo.metrics import queries
from jatevo.metrics.completeness import complete_until
from jatevo.metrics.last_good import last_good
from jatevo.metrics.minutes import floor_minute
from jatevo.metrics.store import get_store
from jatevo.web.templatetags.numbers import percent, written
from nodes.access.rights import Rights
from nodes.detail.exempt_minutes import ExcusedMinutes, excused_minutes, unheard_hours
from nodes.detail.heartbeat_strip import MINUTES, heartbeat_strip
from nodes.detail.latency_charts import ChartWindow, LatencyChart, ask_latencies, latency_chart
from nodes.detail.uptime_strip import HOURS, UptimeStrip, uptime_strip
from nodes.figures import STALE_AFTER, standing_figures
from nodes.models import Node
from nodes.rules.heartbeat_regularity import Regularity, hours_of_window, regularity

PROBES_SHOWN = 10
CHARTS_POLL_SECONDS = 30
_FRESH_FOR = {ChartWindow.DAY: timedelta(seconds=20), ChartWindow.WEEK: timedelta(minutes=2)}
_MOST_SIGNALS = 24
_LONGEST_SIGNAL = 80


@dataclass(frozen=True)
class Signal:
    """A figure that the agent sends with its heartbeats, in words."""

    label: str
    value: str


@dataclass(frozen=True)
class Charts:
    """The charts of a node, as of the moment that ClickHouse was asked."""

    latency: LatencyChart
    uptime: UptimeStrip


def excused_of(node: Node, *, at: datetime) -> ExcusedMinutes:
    """The node's exempt minutes for charts and strips, over the seven days that the longest of them shows."""
    return excused_minutes(node, at - timedelta(hours=HOURS), at)


def charts_context(
    node: Node, window: ChartWindow, excused: ExcusedMinutes, *, at: datetime
) -> dict[str, Any]:
    """The charts. They are stale while ClickHouse is away or behind, and None if there was never an answer.

    One query to PostgreSQL. The last good answer is drawn as of its own time, so that the store's outage does
    not look like silence of the node.
    """
    figures = standing_figures(getattr(node, "standing", None), at=at)
    key = f"node-charts:{window}:{node.pk}"
    # The charts end at the moment up to which all facts have arrived, so that late facts do not look missing.
    until = complete_until(at=at)
    found = last_good(key, lambda: _ask(node.pk, window, until), at=until, fresh_for=_FRESH_FOR[window])
    stale = found.stale or at - found.as_of > STALE_AFTER
    charts = found.value and replace(
        found.value, uptime=found.value.uptime.excusing(excused, unheard_hours(excused))
    )
    return {
        "figures": figures,
        "charts": charts,
        "charts_stale": stale,
        "charts_as_of": found.as_of,
        "window": window,
        "charts_poll_seconds": CHARTS_POLL_SECONDS,
    }


def heard_context(node: Node, rights: Rights, excused: ExcusedMinutes, *, at: datetime) -> dict[str, Any]:
    """Heartbeats, the agent's figures and the last probes, with three queries."""
    beats = _beats(node, at)
    first, last = hours_of_window(at)
    hours = dict(node.hours.filter(hour__gte=first, hour__lte=last).values_list("hour", "heard"))
    unheard = unheard_hours(excused)
    regular = regularity(
        hours, beats, first_heard_at=node.first_heard_at, at=at, excused=excused, unheard=unheard
    )
    strip = heartbeat_strip(
        beats,
        since=node.first_heard_at,
        at=at,
        interval_seconds=settings.HEARTBEAT_INTERVAL_SECONDS,
        excused=excused,
        unheard=unheard,
    )
    signals = signals_of(node.last_metrics, known_only=not rights.named)
    probes = list(node.probes.order_by("-received_at")[:PROBES_SHOWN])
    return {
        "strip": strip,
        "regularity": regular,
        "interval_seconds": settings.HEARTBEAT_INTERVAL_SECONDS,
        "signals": signals,
        "probes": probes,
    }


def regularity_in_words(found: Regularity) -> str:
    """The longest silence in words, or '' if there was none."""
    return spell_duration(found.longest_gap_minutes * 60) if found.longest_gap_minutes else ""


def signals_of(metrics: dict[str, Any], *, known_only: bool = False) -> list[Signal]:
    """The figures that an agent sent: known ones with their units first, then any others as they came.

    A figure of the contract that the agent did not send is shown as unknown, not as 0. With `known_only`, for
    people who may not know the node, other figures are left out, because their free text may contain the
    owner's name.
    """
    signals = [
        Signal(label, write(metrics[key]) if _number(metrics.get(key)) else "unknown")
        for key, (label, write) in _KNOWN.items()
        if _number(metrics.get(key)) or (metrics and key in _ASKED_FOR)
    ]
    if isinstance(metrics.get(_RUNTIME_UP), bool):
        signals.append(Signal("Runtime", "answers" if metrics[_RUNTIME_UP] else "does not answer"))
    if not known_only:
        others = (
            key
            for key, value in metrics.items()
            if value is not None
            and not (key in _KNOWN and _number(value))
            and not (key == _RUNTIME_UP and isinstance(value, bool))
        )
        signals += [Signal(_cut(key), _cut(str(metrics[key]))) for key in others]
    return signals[:_MOST_SIGNALS]


def known_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """The known figures for the API, without any others."""
    return {key: metrics[key] for key in _KNOWN if _number(metrics.get(key))}


def spell_duration(seconds: float) -> str:
    """A duration in at most two units, such as 3 d 4 h or 12 min 5 s."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, length)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


_KNOWN = {
    "uptime": ("Uptime", spell_duration),
    "gpu_util": ("GPU utilisation", lambda share: percent(share, 0)),
    "cpu_percent": ("CPU utilisation", lambda hundredths: percent(hundredths / 100, 0)),
    "mem_used_ratio": ("Memory in use", lambda share: percent(share, 0)),
    "temp": ("Temperature", lambda degrees: f"{written(degrees)} °C"),
    "requests_running": ("Requests running", written),
}
_RUNTIME_UP = "runtime_up"


_ASKED_FOR = ("uptime", "gpu_util", "temp")


def _ask(node_id: str, window: ChartWindow, at: datetime) -> Charts:
    store = get_store()
    points = ask_latencies(store, node_id, window, at=at)
    # limited to the minutes expected, so that an early heartbeat does not make up for a lost one
    settled = at - queries.SETTLED_AFTER
    hours_up = queries.minutes_up_of_node(store, node_id, at - timedelta(hours=HOURS), settled)
    first_minute = queries.first_minute_up(store, node_id)
    return Charts(
        latency=latency_chart(points, window, at=at),
        uptime=uptime_strip(hours_up, first_minute=first_minute, at=at),
    )


def _beats(node: Node, at: datetime) -> dict[datetime, int]:
    """The heartbeats of the last hour by minute, including the current minute."""
    first = floor_minute(at) - timedelta(minutes=MINUTES - 1)
    beats = dict(node.minutes.filter(minute__gte=first).values_list("minute", "beats"))
    if node.beat_minute is not None:  # the minute that is still being counted
        beats[node.beat_minute] = max(beats.get(node.beat_minute, 0), node.beats)
    return beats


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SIGNAL else f"{text[: _LONGEST_SIGNAL - 1]}…"
