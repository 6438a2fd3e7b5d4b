"""Bars of the strips on a node's page. A page has over two hundred, so all bars of a row are one tag."""

from collections.abc import Iterable
from typing import Final

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from nodes.detail.heartbeat_strip import MinuteBar, MinuteLevel
from nodes.detail.uptime_strip import HourBar, HourLevel

register = template.Library()

_FRAME: Final = '" vector-effect="non-scaling-stroke'
_LOOKS: Final = {
    MinuteLevel.GOOD: "fill-ok",
    HourLevel.FULL: "fill-ok",
    MinuteLevel.PARTIAL: "fill-warn",
    HourLevel.PARTIAL: "fill-warn",
    MinuteLevel.MISSED: f"fill-bad-ground stroke-bad{_FRAME}",
    HourLevel.DOWN: f"fill-bad-ground stroke-bad{_FRAME}",
    MinuteLevel.EXCUSED: f"fill-info-ground stroke-info{_FRAME}",
    HourLevel.EXCUSED: f"fill-info-ground stroke-info{_FRAME}",
    MinuteLevel.UNKNOWN: "fill-field",
    HourLevel.UNKNOWN: "fill-field",
}
_BAR: Final = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'


@register.simple_tag
def strip_bars(bars: Iterable[MinuteBar | HourBar], width: int) -> SafeString:
    """`{% strip_bars day.cells strip.bar_width %}`: a `<rect>` for each bar, with its title."""
    return mark_safe(  # noqa: S308  # format_html has escaped the titles
        "".join(
            format_html(_BAR, mark_safe(_LOOKS[bar.level]), bar.x, bar.y, width, bar.height, bar.title)  # noqa: S308  # ours
            for bar in bars
        )
    )
