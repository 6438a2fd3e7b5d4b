"""Ranges of time in the search of receipts: presets, "zoom out", and links with absolute times."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.http import QueryDict
from django.utils import timezone

from jatevo.web.query_values import EARLIEST, Moment


@dataclass(frozen=True)
class Preset:
    """A range of days: how many days before today it begins and ends. None is any time."""

    key: str
    label: str
    first: int | None
    last: int | None

    def days(self, today: date) -> dict[str, str]:
        """The values of `from` and `to`."""
        return {"from": _days_before(today, self.first), "to": _days_before(today, self.last)}


PRESETS: Final = (
    Preset("today", "Today", 0, 0),
    Preset("yesterday", "Yesterday", 1, 1),
    Preset("last-7-days", "Last 7 days", 6, 0),
    Preset("last-30-days", "Last 30 days", 29, 0),
    Preset("any-time", "Any time", None, None),
)


@dataclass(frozen=True)
class PresetLink:
    """A preset, with a link to the same search within it."""

    label: str
    url: str
    chosen: bool


def preset_links(query: QueryDict, path: str, *, at: datetime) -> list[PresetLink]:
    """The presets, counted from today in the current time zone. The rest of the search is kept."""
    chosen = chosen_preset(query, at=at)
    today = timezone.localdate(at)
    return [
        PresetLink(preset.label, with_changes(query, path, preset.days(today)), preset is chosen)
        for preset in PRESETS
    ]


def chosen_preset(query: QueryDict, *, at: datetime) -> Preset | None:
    """The preset whose days the query has."""
    asked = {name: query.get(name, "") for name in ("from", "to")}
    today = timezone.localdate(at)
    return next((preset for preset in PRESETS if preset.days(today) == asked), None)


def zoomed_out(first: Moment | None, last: Moment | None, *, at: datetime) -> dict[str, str]:
    """`from` and `to` of a range twice as long, around the same middle, that ends at `at` at the latest.

    A range without an end lasts until `at`, and stays without one. Empty for one that cannot be widened.
    """
    if first is None:
        return {}
    start, end = first.start, last.end if last else at
    half = (end - start) / 2
    wider_start, wider_end = max(start - half, EARLIEST), min(end + half, at)
    if half <= timedelta(0) or wider_start >= min(start, wider_end):
        return {}
    return {"from": _instant(wider_start), "to": _instant(wider_end) if last else ""}


def absolute(first: Moment | None, last: Moment | None) -> dict[str, str]:
    """`from` and `to` as instants, which are the same for everybody, in whatever time zone."""
    times = {"from": first and first.start, "to": last and last.end}
    return {name: _instant(time) for name, time in times.items() if time}


def with_changes(query: QueryDict, path: str, changes: Mapping[str, str]) -> str:
    """The URL of the same search, which is `tidy`, with other values. An empty one removes its parameter."""
    asked = query.copy()
    for name, value in changes.items():
        asked.pop(name, None)
        if value:
            asked[name] = value
    return f"{path}?{asked.urlencode()}" if asked else path


def _instant(time: datetime) -> str:
    return timezone.localtime(time).isoformat()


def _days_before(today: date, days: int | None) -> str:
    return "" if days is None else (today - timedelta(days=days)).isoformat()
