"""Bars of the strips on a node's page. A page has over two hundred, so all bars of a row are one tag."""

from collections.abc import Iterable, Mapping
from typing import Final

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from nodes.detail.heartbeat_strip import MinuteBar, MinuteLevel
from nodes.detail.uptime_strip import HourBar, HourLevel

register = template.Library()

_FRAMED: Final = SafeString(' vector-effect="non-scaling-stroke"')
_OK: Final = ("fill-ok", "")
_WARN: Final = ("fill-warn", "")
_BAD: Final = ("fill-bad-ground stroke-bad", _FRAMED)
_INFO: Final = ("fill-info-ground stroke-info", _FRAMED)
_IDLE: Final = ("fill-field", "")
# Levels are words, and those that minutes and hours share are the same ones.
_LOOKS: Final[Mapping[str, tuple[str, str]]] = {
    MinuteLevel.GOOD: _OK,
    HourLevel.FULL: _OK,
    HourLevel.PARTIAL: _WARN,
    MinuteLevel.MISSED: _BAD,
    HourLevel.DOWN: _BAD,
    HourLevel.EXCUSED: _INFO,
    HourLevel.UNKNOWN: _IDLE,
}
_BAR: Final = '<rect class="{}"{} x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'


@register.simple_tag
def strip_bars(bars: Iterable[MinuteBar | HourBar], width: int) -> SafeString:
    """`{% strip_bars day.cells strip.bar_width %}`: a `<rect>` for each bar, with its title."""
    return format_html_join(
        "", _BAR, ((*_LOOKS[bar.level], bar.x, bar.y, width, bar.height, bar.title) for bar in bars)
    )
