"""Times on pages: how long ago, with the exact moment on hover; a script keeps the words up to date."""

from datetime import UTC, datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

_STEPS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def ago(moment: datetime, *, at: datetime) -> str:
    """'5 s ago', '3 min ago', 'in 2 h'; 'now' within a second. app.js's `relative()` says the same."""
    seconds = int((at - moment).total_seconds())
    amount = abs(seconds)
    for unit, length in _STEPS:
        if amount >= length:
            words = f"{amount // length} {unit}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "now"


def when(moment: datetime | None, empty: str = "never") -> SafeString:
    """`{% when node.last_heartbeat_at %}`: a <time>; `empty` is what stands for no time."""
    if moment is None:
        return format_html('<span class="text-muted">{}</span>', empty)
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        exact.strftime("%Y-%m-%dT%H:%M:%SZ"),
        exact.strftime("%-d %b %Y, %H:%M:%S UTC"),
        ago(exact, at=timezone.now()),
    )


def exact_time(moment: datetime | None, empty: str = "—") -> SafeString:
    """`{% exact_time receipt.accepted_at %}`: the moment itself, to the second, in UTC."""
    if moment is None:
        return format_html('<span class="text-muted">{}</span>', empty)
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}">{}</time>',
        exact.strftime("%Y-%m-%dT%H:%M:%SZ"),
        exact.strftime("%-d %b %Y, %H:%M:%S UTC"),
    )
