"""The time zones that people can choose, and how zones are written."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone

UTC_NAME: Final = "UTC"
# The database also lists "Etc/GMT+8" (whose sign is the wrong way round), "posix/…" and the like.
_AREAS: Final = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)


@cache
def zone_names() -> Sequence[str]:
    """The names that can be chosen, sorted, without UTC."""
    return sorted(name for name in available_timezones() if name.partition("/")[0] in _AREAS)


def zone_named(name: str) -> ZoneInfo | None:
    """The zone, or None for a name that cannot be chosen. The name may be untrusted text from a cookie."""
    return ZoneInfo(name) if name == UTC_NAME or name in zone_names() else None


def offset_words(moment: datetime) -> str:
    """'UTC', 'UTC+8', 'UTC-3:30': the offset of the aware moment's zone at that moment."""
    offset = moment.utcoffset() or timedelta(0)
    minutes = round(offset.total_seconds() / 60)
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'+' if minutes > 0 else '-'}{hours}{f':{rest:02}' if rest else ''}"


def clock_words(moment: datetime) -> str:
    """'01:30 UTC+8': the time of day in the current time zone."""
    local = timezone.localtime(moment)
    return f"{local:%H:%M} {offset_words(local)}"


def current_zone_words(at: datetime) -> str:
    """The zone that pages use for this request: 'UTC', or 'Asia/Shanghai (UTC+8)' with its offset at `at`."""
    name = timezone.get_current_timezone_name() if timezone.get_current_timezone() else UTC_NAME
    offset = offset_words(timezone.localtime(at))
    return name if name == offset else f"{name} ({offset})"
