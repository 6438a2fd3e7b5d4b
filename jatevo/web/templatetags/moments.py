"""Times on pages: how long ago, with the exact time on hover. A script updates the relative times.

Exact times are in the person's time zone (Django's current time zone) and include it.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jatevo.web.time_zones import current_zone_words, offset_words

_RFC_3339 = "%Y-%m-%dT%H:%M:%SZ"
_STEPS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def ago(moment: datetime, *, at: datetime) -> str:
    """'5 s ago', '3 min ago', 'in 2 h'; 'now' within a second. Must match `relative()` in app.js."""
    seconds = int((at - moment).total_seconds())
    amount = abs(seconds)
    for unit, length in _STEPS:
        if amount >= length:
            words = f"{amount // length} {unit}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "now"


def duration(span: timedelta) -> str:
    """`{{ step.after|duration }}`: '41 s', '2 min 5 s', '3 h 20 min', '1 d'. The two largest units."""
    left = max(0, int(span.total_seconds()))
    parts: list[str] = []
    for unit, length in _STEPS:
        amount, left = divmod(left, length)
        if amount or (parts and len(parts) < 2):
            parts.append(f"{amount} {unit}" if amount else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def exact_words(moment: datetime) -> str:
    """'28 Nov 2026, 17:01:53 UTC+8', in the current time zone."""
    return _words_in(moment, timezone.get_current_timezone())


def _words_in(moment: datetime, zone: tzinfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%-d %b %Y, %H:%M:%S} {offset_words(local)}"


def offset(moment: datetime) -> str:
    """`{{ chart.until|offset }}`: 'UTC+8', to show next to a time of day in the current time zone."""
    return offset_words(timezone.localtime(moment))


def time_zone_words() -> str:
    """`{% time_zone_words %}`: 'Asia/Shanghai (UTC+8)', the zone that this page's times are in."""
    return current_zone_words(timezone.now())


def times_in() -> str:
    """`{% times_in %}`: 'Times in Asia/Shanghai (UTC+8)', for pages and forms that show or take times."""
    return f"Times in {current_zone_words(timezone.now())}"


def when(moment: datetime | None, empty: str = "never") -> SafeString:
    """`{% when node.last_heartbeat_at %}`: a <time>, or the text `empty` without a time."""
    if moment is None:
        return format_html('<span class="text-muted">{}</span>', empty)
    exact = moment.astimezone(UTC).replace(microsecond=0)
    opening = _opening(exact, timezone.get_current_timezone())
    return format_html("{}{}</time>", opening, ago(moment, at=timezone.now()))


@lru_cache(maxsize=4096)  # a list has one in each row, and polls for most of them again
def _opening(moment: datetime, zone: tzinfo) -> SafeString:
    """The tag of a relative time. `moment` is in UTC, where no hour comes twice, so that equal ones are the same."""
    return format_html(
        '<time datetime="{}" title="{}" data-relative>', moment.strftime(_RFC_3339), _words_in(moment, zone)
    )


def exact_time(moment: datetime | None, empty: str = "—") -> SafeString:
    """`{% exact_time receipt.accepted_at %}`: the exact time, to the second, with its zone."""
    if moment is None:
        return format_html('<span class="text-muted">{}</span>', empty)
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}">{}</time>',
        exact.strftime(_RFC_3339),
        exact_words(exact),
    )
